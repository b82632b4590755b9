package testpostgres_test

import (
	"os"
	"path/filepath"
	"testing"

	"gatehouse/internal/testcert"
	"gatehouse/internal/testpostgres"
	"gatehouse/internal/testserver"
)

func TestMain(m *testing.M) { os.Exit(testpostgres.Main(m)) }

func value(t *testing.T, url, query string) string {
	t.Helper()
	return testpostgres.Rows(t, url, query)[0][0]
}

func TestServer(t *testing.T) {
	t.Parallel()
	t.Run("killed and restarted it keeps its data and address", func(t *testing.T) {
		t.Parallel()
		s := testpostgres.Start(t)
		s.Exec(t, "CREATE TABLE k (v text); INSERT INTO k VALUES ('v')")
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
		s := testpostgres.Start(t, testpostgres.Password("secret"), testpostgres.TLS(cert, key), testpostgres.Flags("-c", "max_connections=7"))
		if got := value(t, s.URL("sslmode=verify-full", "sslrootcert="+cert), "SHOW max_connections"); got != "7" {
			t.Errorf("max_connections %s, want 7", got)
		}
	})
	t.Run("stopped it hangs, then goes on", func(t *testing.T) {
		t.Parallel()
		s := testpostgres.Start(t)
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
			s := testpostgres.Start(t)
			folder = filepath.Dir(value(t, s.URL(), "SHOW data_directory"))
		})
		if _, err := os.Stat(folder); !os.IsNotExist(err) {
			t.Errorf("folder %s: %v", folder, err)
		}
	})
}

func TestNewDatabase(t *testing.T) {
	t.Parallel()
	a, b := testpostgres.NewDatabase(t), testpostgres.NewDatabase(t)
	testpostgres.Exec(t, a, "CREATE TABLE k (v text)")
	testpostgres.Exec(t, b, "CREATE TABLE k (v int)") // no clash: they do not meet
	const is = "SELECT data_type FROM information_schema.columns WHERE table_name = 'k'"
	if value(t, a, is) != "text" || value(t, b, is) != "integer" {
		t.Error("two databases share a table")
	}
}
