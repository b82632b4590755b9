//go:build apps

package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// startApache starts one Apache httpd with mod_php and three virtual hosts.
func startApache(t *testing.T) []*app {
	dir := readableDir(t)
	phpTree(t, dir)
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	program := sbin(t, "/usr/sbin/apache2")
	modules := filepath.Dir(sbin(t, "/usr/lib/apache2/modules/mod_negotiation.so"))
	ports := launch(t, 3, func(ports []string) *exec.Cmd {
		conf := fmt.Sprintf(readTestdata(t, "apache.conf"), dir, asRoot("User www-data\nGroup www-data\n"), modules,
			sbin(t, modules+"/libphp*.so"), ports[0], ports[1], ports[2])
		return exec.Command(program, "-DFOREGROUND", "-f", writeFile(t, filepath.Join(dir, "apache.conf"), conf))
	})
	version := versionOf(t, program, "-v")
	var apps []*app
	for i, how := range [][2]string{
		{"Apache", "mod_php: `index.php` in folders, `FallbackResource` with a front controller"},
		{"Apache, MultiViews", "mod_php, `MultiViews`, `AcceptPathInfo On`, `AllowEncodedSlashes On`, `MergeSlashes Off`"},
		{"Apache, NoDecode", "as the first, `AllowEncodedSlashes NoDecode`"},
	} {
		apps = append(apps, &app{name: how[0], how: how[1], version: version, addr: "127.0.0.1:" + ports[i], whoami: "/whoami.php"})
	}
	return apps
}

// startLighttpd starts two of them: most of what differs is for a whole server.
func startLighttpd(t *testing.T) []*app {
	dir := readableDir(t)
	root := writeTree(t, dir, "index.html")
	copyInto(t, root, "index.cgi", "whoami.cgi")
	program := sbin(t, "/usr/sbin/lighttpd")
	at := func(name, more string) string {
		return "127.0.0.1:" + launch(t, 1, func(ports []string) *exec.Cmd {
			conf := fmt.Sprintf(readTestdata(t, "lighttpd.conf"), root, ports[0], dir) + more
			return exec.Command(program, "-D", "-f", writeFile(t, filepath.Join(dir, name), conf))
		})[0]
	}
	version := versionOf(t, program, "-v")
	lenient := `server.force-lowercase-filenames = "enable"
server.http-parseopts = ("url-normalize" => "disable", "header-strict" => "disable", "host-strict" => "disable")
`
	return []*app{
		{name: "lighttpd", how: "files, and a CGI front controller on `PATH_INFO`", version: version, addr: at("strict.conf", ""), whoami: "/whoami.cgi"},
		{name: "lighttpd, lenient", how: "the same, file names in lower case, URLs not normalised, headers not strict", version: version, addr: at("lenient.conf", lenient), whoami: "/whoami.cgi"},
	}
}

// asRoot is for what servers ask of root alone: another user to work as.
func asRoot(text string) string {
	if os.Getuid() != 0 {
		return ""
	}
	return text
}

func readTestdata(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
