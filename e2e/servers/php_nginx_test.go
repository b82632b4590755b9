//go:build apps

package servers

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// phpTree is a PHP application: folders with an index.php, a front controller at the root, and whoami.php.
func phpTree(t *testing.T, dir string) (root string) {
	t.Helper()
	root = writeTree(t, dir, "index.php")
	copyInto(t, root, "router.php", "whoami.php")
	writeFile(t, filepath.Join(root, "index.php"), "<?php\n$found = $_SERVER['PATH_INFO'] ?? null;\nrequire __DIR__ . '/router.php';\n")
	return root
}

func startPHP(t *testing.T) []*app {
	version := versionOf(t, "php", "--version")
	files := phpTree(t, t.TempDir())
	router := filepath.Join(phpTree(t, t.TempDir()), "router.php")
	at := func(args ...string) string {
		return "127.0.0.1:" + launch(t, 1, func(ports []string) *exec.Cmd {
			cmd := exec.Command("php", append([]string{"-q", "-S", "127.0.0.1:" + ports[0]}, args...)...)
			cmd.Env = append(cmd.Environ(), "PHP_CLI_SERVER_WORKERS=2")
			return cmd
		})[0]
	}
	return []*app{
		{name: "php -S", how: "PHP's own server: folders with an `index.php`, a front controller at the root", version: version, addr: at("-t", files), whoami: "/whoami.php"},
		{name: "php -S, router", how: "the same with a router script that decodes `REQUEST_URI`", version: version, addr: at("-t", filepath.Dir(router), router), whoami: "/whoami.php"},
	}
}

// startNginx starts one nginx that serves in four ways, and PHP-FPM for the last of them.
func startNginx(t *testing.T) []*app {
	dir := readableDir(t)
	writeTree(t, dir, "index.html")
	phpTree(t, filepath.Join(dir, "php"))
	var locations strings.Builder
	for _, a := range areas {
		fmt.Fprintf(&locations, "\t\tlocation %s { return 200 \"%s\\n\"; }\n", a.path, a.says)
	}
	fpm := startFPM(t, dir)
	nginx := sbin(t, "/usr/sbin/nginx", "/usr/local/sbin/nginx")
	ports := launch(t, 4, func(ports []string) *exec.Cmd {
		conf := readTestdata(t, "nginx.conf")
		conf = fmt.Sprintf(conf, asRoot("user root;"), ports[0], locations.String(), ports[1], ports[2], ports[3], "/etc/nginx/fastcgi_params", fpm)
		return exec.Command(nginx, "-p", dir, "-e", "stderr", "-c", writeFile(t, filepath.Join(dir, "nginx.conf"), conf))
	})
	version := versionOf(t, nginx, "-v")
	var apps []*app
	for i, how := range [][2]string{
		{"nginx", "`location` prefixes"},
		{"nginx, files", "files, `/admin` and `/account` matched by `~*`, `merge_slashes off`"},
		{"nginx, alias", "files, and a `location /files` without the slash its `alias` has"},
		{"nginx, PHP-FPM", "`index.php` in folders, `PATH_INFO`, `try_files` with a front controller"},
	} {
		apps = append(apps, &app{name: how[0], how: how[1], version: version, addr: "127.0.0.1:" + ports[i], whoami: "/whoami"})
	}
	apps[3].whoami = "/whoami.php"
	return apps
}

// startFPM gives the port of a PHP-FPM.
func startFPM(t *testing.T, dir string) (port string) {
	t.Helper()
	program := sbin(t, "/usr/sbin/php-fpm*")
	return launchFastCGI(t, func(port string) *exec.Cmd {
		conf := fmt.Sprintf("[global]\nerror_log = /dev/stderr\n[www]\nlisten = 127.0.0.1:%s\npm = static\npm.max_children = 2\n%s", port, asRoot("user = www-data\ngroup = www-data\n"))
		return exec.Command(program, "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", writeFile(t, filepath.Join(dir, "fpm.conf"), conf))
	})
}
