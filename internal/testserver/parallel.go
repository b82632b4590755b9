package testserver

import (
	"flag"
	"runtime"
	"strconv"
)

// MoreParallel has two tests more run at a time than there are cores, unless -parallel says how many: for packages whose
// tests spend most of their time waiting for servers to start, to fail and to come back. It is for TestMain.
func MoreParallel() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+2))
	}
}
