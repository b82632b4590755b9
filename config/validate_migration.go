package config

// migration checks the way of the sessions from the application's table to Redis.
func (k *checker) migration(c *Config) {
	const key = "migration"
	m := c.Migration
	if m.Enabled() {
		k.add(key+".state", oneOf(m.State, StateLegacy, StateShadow, StateCanary, StatePrimary, StateDrain, StateDone))
	}
	if m.Percent < 0 || m.Percent > 100 {
		k.add(key+".percent", faultf("write 0 to 100", "%d is not a part of all users", m.Percent))
	}
	k.positive(key+".import.rate", int64(m.Import.Rate), "500")
	k.positive(key+".import.batch", int64(m.Import.Batch), "500")
	k.add("outage.login", oneOf(c.Outage.Login, OutageLoginRefuse, OutageLoginDatabase))
	if m.moving() {
		k.moving(c)
	}
	if c.Outage.Login == OutageLoginDatabase && m.moving() && readOnly(c.Session.Database.Preset) {
		k.add("outage.login", faultf("write refuse", "database would write sessions, and those of preset %s can only be read", c.Session.Database.Preset))
	}
}

// moving checks what else must be so while sessions are in the table.
func (k *checker) moving(c *Config) {
	state, preset := c.Migration.State, c.Session.Database.Preset
	if c.Login.Backend == BackendApp {
		k.add("login.backend", faultf("write database or file, or migration.state: done",
			"app does not go with migration.state: %s, the application makes sessions of its own then", state))
	}
	if readOnly(preset) && writes(state) {
		k.add("migration.state", faultf("begin with primary",
			"%s writes sessions into the table, and those of preset %s can only be read", state, preset))
	}
	for i, a := range c.Redis.Addresses {
		if a == EmbeddedRedis {
			k.add(entry("redis.addresses", i), faultf("write the address of a Redis, or migration.state: done",
				"embedded forgets everything when the gateway stops, and with migration.state: %s sessions that came from the database would be lost", state))
		}
	}
}

// readOnly reports whether the gateway cannot write rows of a preset: their payload is the framework's.
func readOnly(preset string) bool { return preset == PresetDjango || preset == PresetRails }

// writes reports whether a login in the state makes a row.
func writes(state string) bool {
	return state == StateLegacy || state == StateShadow || state == StateCanary
}
