package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/config"
)

// FuzzLoad: no file makes Load panic, every error says something, and what loads is valid.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range append(files, example) {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	file := filepath.Join(f.TempDir(), "config.yaml") // each worker process has its own
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Options{File: file, Env: []string{}})
		if err != nil {
			var e *config.Errors
			if !errors.As(err, &e) || len(e.Problems) == 0 || c != nil {
				t.Fatalf("%v without problems, or with a config", err)
			}
			for _, p := range e.Problems {
				if p.What == "" || p.Fix == "" || p.Source != config.SourceFile || p.Line < 0 {
					t.Errorf("says nothing: %+v", p)
				}
			}
			return
		}
		if c.Upstream == nil || c.Session.Cookie.Name == "" {
			t.Errorf("incomplete: %+v", c)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("loads but is not valid: %v", err)
		}
	})
}
