package session

import (
	"context"
	"errors"
	"reflect"
	"time"
	"unsafe"

	"github.com/redis/rueidis"
)

// Sources are all scripts there are, by name, wherever they are written: what newScripts makes.
func Sources() map[string]string {
	all := map[string]string{}
	made := newScripts()
	each(&made, func(name string, lua **rueidis.Lua) { all[name] = source(*lua) })
	return all
}

// UseScripts makes the store run changed scripts.
func (s *RedisStore) UseScripts(change func(string) string) {
	made := newScripts()
	each(&made, func(_ string, lua **rueidis.Lua) { *lua = rueidis.NewLuaScript(change(source(*lua))) })
	s.scripts = made
}

// each calls f for every field of scripts, so that a new script is not forgotten.
func each(s *scripts, f func(name string, lua **rueidis.Lua)) {
	fields := reflect.ValueOf(s).Elem()
	for i := range fields.NumField() {
		f(fields.Type().Field(i).Name, (**rueidis.Lua)(unsafe.Pointer(fields.Field(i).UnsafeAddr())))
	}
}

// source is what a script was made of; the library keeps it to itself.
func source(lua *rueidis.Lua) string {
	return reflect.ValueOf(lua).Elem().FieldByName("script").String()
}

// ImportSteps takes a session through what an import does in Redis: an alias is written and read, and the session gets the
// ID that goes with its token. It gives the record under its new ID.
func (s *RedisStore) ImportSteps(ctx context.Context, rec *Record, row string) (*Record, error) {
	found, err := s.findFresh(ctx, rec.Key())
	if err != nil {
		return nil, err
	}
	a, token, err := newAlias(rec.User.ID, "the application's token")
	if err != nil {
		return nil, err
	}
	if _, err := s.setAlias(ctx, rowID(row), alias{}, a, time.Hour); err != nil {
		return nil, err
	}
	for _, fresh := range []bool{false, true} {
		if _, err := s.alias(ctx, rowID(row), fresh); err != nil {
			return nil, err
		}
	}
	key, _ := ParseToken(token)
	next := found.Record.Clone()
	next.ID = key.ID
	return next, s.rotate(ctx, found.Record, next, time.Hour)
}

// MigrationSteps does in Redis what a gateway does there while sessions move, beside ImportSteps.
func (s *RedisStore) MigrationSteps(ctx context.Context, row string) error {
	_, shared := s.Shared(ctx)
	_, progress := s.Progress(ctx)
	_, lead := s.lead(s.keys.prefix+"cleanup_leader", "me", time.Minute)
	_, again := s.lead(s.keys.prefix+"cleanup_leader", "me", time.Minute)
	counted := s.addCounts(s.keys.migrationCounts(s.clock()), map[string]int64{"imported": 1})
	_, counts := s.MigrationCounts(ctx)
	_, scanned := s.count(ctx)
	return errors.Join(shared, s.SetShared(ctx, &Shared{}), s.setTable("x"), progress, s.setProgress(&Progress{}), lead, again, counted, counts, scanned,
		s.expireAlias(ctx, s.keys.alias(rowID(row)), time.Minute))
}
