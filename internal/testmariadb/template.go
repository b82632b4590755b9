package testmariadb

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// logFileSize must be the same when the data are made and when they are served.
const logFileSize = "4M"

func initialize(folder string) error {
	args := []string{
		"--no-defaults", "--datadir=" + filepath.Join(folder, "data"), "--auth-root-authentication-method=normal", "--skip-test-db",
		"--innodb-log-file-size=" + logFileSize, "--innodb-flush-method=nosync",
	}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	if out, err := exec.Command(program("mariadb-install-db"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	return nil
}
