package testmariadb_test

import (
	"os"
	"path/filepath"
	"testing"

	"gatehouse/internal/testcert"
	"gatehouse/internal/testmariadb"
	"gatehouse/internal/testserver"
)

func TestMain(m *testing.M) { os.Exit(testmariadb.Main(m)) }

func value(t *testing.T, url, query string) string {
	t.Helper()
	return testmariadb.Rows(t, url, query)[0][0]
}

func TestServer(t *testing.T) {
	t.Parallel()
	t.Run("killed and restarted it keeps its data and address", func(t *testing.T) {
		t.Parallel()
		s := testmariadb.Start(t)
		testmariadb.Exec(t, s.URL(), "CREATE TABLE k (v text); INSERT INTO k VALUES ('v')")
		addr := s.Addr
		for range 3 {
			s.Kill()
			s.Kill() // twice is fine
			s.Restart()
		}
		if got := value(t, s.URL(), "SELECT v FROM k"); got != "v" || s.Addr != addr {
			t.Errorf("%q at %s, want v at %s", got, s.Addr, addr)
		}
	})
	t.Run("password, TLS and flags", func(t *testing.T) {
		t.Parallel()
		cert, key := testcert.Write(t, t.TempDir())
		s := testmariadb.Start(t, testmariadb.Password("secret"), testmariadb.TLS(cert, key), testmariadb.Flags("--max-connections=17"))
		if got := value(t, s.URL(), "SELECT concat(@@max_connections, @@have_ssl)"); got != "17YES" {
			t.Errorf("%s, want 17 connections and TLS", got)
		}
	})
	t.Run("stopped it hangs, then goes on", func(t *testing.T) {
		t.Parallel()
		s := testmariadb.Start(t)
		testserver.MustHang(t, s, func() {
			if got := value(t, s.URL(), "SELECT 1"); got != "1" {
				t.Errorf("got %q", got)
			}
		})
	})
	t.Run("nothing is left behind", func(t *testing.T) {
		t.Parallel()
		var folder string
		t.Run("server", func(t *testing.T) {
			s := testmariadb.Start(t)
			folder = filepath.Dir(filepath.Clean(value(t, s.URL(), "SELECT @@datadir")))
		})
		if _, err := os.Stat(folder); !os.IsNotExist(err) {
			t.Errorf("folder %s: %v", folder, err)
		}
	})
}

func TestNewDatabase(t *testing.T) {
	t.Parallel()
	a, b := testmariadb.NewDatabase(t), testmariadb.NewDatabase(t)
	testmariadb.Exec(t, a, "CREATE TABLE k (v text)")
	testmariadb.Exec(t, b, "CREATE TABLE k (v int)") // no clash: they do not meet
	const is = "SELECT data_type FROM information_schema.columns WHERE table_name = 'k' AND table_schema = database()"
	if value(t, a, is) != "text" || value(t, b, is) != "int" {
		t.Error("two databases share a table")
	}
}
