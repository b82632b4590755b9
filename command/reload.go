package command

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/session"
)

// reloadEvery is how often the config file is looked at for a change of migration.state. Reading a small
// file costs next to nothing, and finds changes on every file system.
const reloadEvery = 500 * time.Millisecond

// followConfig takes over changes of migration.state and migration.percent until ctx is done. All other
// keys need a restart, which is said. Whatever happens to the file, the last good state stays.
func followConfig(ctx context.Context, flags configFlags, running *config.Config, store *session.MigratingStore, log zerolog.Logger) {
	content, _ := os.ReadFile(flags.file) // it has just been read; if not, the first look finds a change
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next, err := os.ReadFile(flags.file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(next, content) {
			continue // an editor may be in the middle of replacing it
		}
		if err != nil {
			log.Error().Err(err).Msg("the config file has changed and cannot be read; the settings stay as they are")
			continue
		}
		content = next
		cfg, err := flags.load()
		if err != nil {
			log.Error().Err(err).Msg("the config file has changed and is not valid; the settings stay as they are")
			continue
		}
		if !cfg.Migration.Enabled() {
			log.Error().Msg("the config file has changed and has no migration.state any more; the migration stays in its state until the next start")
			continue
		}
		store.SetFile(session.Setting{State: cfg.Migration.State, Percent: cfg.Migration.Percent})
		if !sameButMigration(*running, *cfg) {
			log.Warn().Msg("the config file has changed in more than migration.state and migration.percent; the rest takes effect with the next start")
		}
	}
}

func sameButMigration(a, b config.Config) bool {
	a.Migration.State, b.Migration.State = "", ""
	a.Migration.Percent, b.Migration.Percent = 0, 0
	return reflect.DeepEqual(a, b)
}
