package config

// verify checks who may ask about requests, and whether what is asked for can be had.
func (k *checker) verify(c *Config) {
	v := c.Verify
	k.add("verify.dialect", oneOfOrNone(v.Dialect, DialectNginx, DialectTraefik, DialectCaddy))
	for i, p := range v.Trusted {
		k.add(entry("verify.trusted", i), checkTrusted(p))
	}
	switch {
	case v.Dialect == "" && len(v.Trusted) > 0 && v.Trusted[0].IsValid():
		k.add("verify.dialect", faultf("write nginx, traefik or caddy, or delete verify.trusted",
			"is missing, and without it nobody is answered"))
	case v.Dialect != "" && len(v.Trusted) == 0:
		k.add("verify.trusted", faultf("name the address the web server asks from, such as 127.0.0.1/32",
			"is empty, so nobody may ask"))
	}
	if vault := c.Login.App.Vault; v.Dialect != "" && c.Login.Backend == BackendApp && (vault.HTTPOnly || len(vault.Names) > 0) {
		// The application's answers do not come through here, so what it does to its cookies would go unseen.
		k.add("login.app.vault", faultf("write vault: none, or let the requests go through the gateway",
			"keeps cookies the application would not get from a web server that only asks (verify.dialect)"))
	}
}
