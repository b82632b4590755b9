package config

import "net"

// admin checks the operator's listener.
func (k *checker) admin(c *Config) {
	a := c.Admin
	if a.Listen != "" {
		k.add("admin.listen", checkAdminAddress(a, c.Listen))
	}
	if a.Token != "" {
		k.add(a.tokenKey(), checkAdminToken(a.Token))
	}
}

// tokenKey is where the token was set.
func (a Admin) tokenKey() string {
	if a.TokenFile != "" {
		return "admin.token_file"
	}
	return "admin.token"
}

// checkAdminAddress keeps metrics, profiles and sessions off the network unless a token guards them.
func checkAdminAddress(a Admin, listen string) *fault {
	if f := checkAddress(a.Listen, 0, "127.0.0.1:9090"); f != nil {
		return f
	}
	host, port, _ := net.SplitHostPort(a.Listen)
	if !loopback(host) && a.Token == "" && a.TokenFile == "" {
		return faultf("write 127.0.0.1:"+port+", or set admin.token_file", "%q can be reached from other machines, and it asks for no login", a.Listen)
	}
	if a.Listen == listen && port != "0" {
		return faultf("choose another port", "%q is also listen", a.Listen)
	}
	return nil
}

// CheckAdminToken says what is wrong with an admin token, nil if nothing is: for one that the file holds later on. The error
// does not repeat it.
func CheckAdminToken(s Secret) error {
	if f := checkAdminToken(s); f != nil {
		return f
	}
	return nil
}

func checkAdminToken(s Secret) *fault {
	return checkRandom(s, MinAdminToken, "that no Authorization header can carry")
}
