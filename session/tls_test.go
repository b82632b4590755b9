package session_test

import (
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testcert"
	"gatehouse/internal/testredis"
)

// tlsFiles are a server's certificate by this authority, and what a gateway needs to trust it.
func tlsFiles(t *testing.T, authority *testcert.Authority, leaf testcert.Leaf) (testredis.Files, config.RedisTLS) {
	t.Helper()
	cert, key := authority.Issue(t, leaf)
	return testredis.Files{CA: authority.File, Cert: cert, Key: key}, config.RedisTLS{Enabled: true, CAFile: authority.File}
}

// clientCert adds a client certificate.
func clientCert(t *testing.T, of *testcert.Authority, leaf testcert.Leaf) func(*config.RedisTLS) {
	return func(c *config.RedisTLS) { c.CertFile, c.KeyFile = of.Issue(t, leaf) }
}

// What is wrong with TLS is told in the log, with the setting that mends it, and no request is answered meanwhile.
func TestTLSToRedis(t *testing.T) {
	t.Parallel()
	authority, stranger := testcert.NewAuthority(t), testcert.NewAuthority(t)
	none := func(*config.RedisTLS) {}
	for _, c := range []struct {
		name   string
		mutual bool
		leaf   testcert.Leaf // the server's
		change func(*config.RedisTLS)
		want   string // in the log; "" when it works
	}{
		{"right", false, testcert.Leaf{}, none, ""},
		{"a certificate nobody asked for", false, testcert.Leaf{}, clientCert(t, authority, testcert.Leaf{}), ""},
		{"mutual", true, testcert.Leaf{}, clientCert(t, authority, testcert.Leaf{}), ""},
		{"another name, and told so", false, testcert.Leaf{Host: "redis.example.com"}, func(c *config.RedisTLS) { c.ServerName = "redis.example.com" }, ""},
		{"wrong authority", false, testcert.Leaf{}, func(c *config.RedisTLS) { c.CAFile = stranger.File }, "set redis.tls.ca_file"},
		{"the system's authorities", false, testcert.Leaf{}, func(c *config.RedisTLS) { c.CAFile = "" }, "set redis.tls.ca_file"},
		{"wrong server name", false, testcert.Leaf{Host: "redis.example.com"}, none, "set redis.tls.server_name"},
		{"wrong server name given", false, testcert.Leaf{}, func(c *config.RedisTLS) { c.ServerName = "other.example.com" }, "set redis.tls.server_name"},
		{"expired", false, testcert.Leaf{Expired: true}, none, "not valid now, renew it"},
		{"no client certificate", true, testcert.Leaf{}, none, "set redis.tls.cert_file and key_file"},
		{"a stranger's client certificate", true, testcert.Leaf{}, clientCert(t, stranger, testcert.Leaf{}), "redis.tls.cert_file"},
		{"expired client certificate", true, testcert.Leaf{}, clientCert(t, authority, testcert.Leaf{Expired: true}), "renew redis.tls.cert_file"},
		{"no TLS on our side", false, testcert.Leaf{}, func(c *config.RedisTLS) { *c = config.RedisTLS{} }, "set redis.tls.enabled: true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files, cfg := tlsFiles(t, authority, c.leaf)
			how := testredis.TLS
			if c.mutual {
				how = testredis.MutualTLS
			}
			c.change(&cfg)
			server := testredis.Start(t, how(files))
			met := tlsOutcome(t, server.Addr, cfg, c.want)
			if c.want != "" && strings.Contains(met, "PRIVATE KEY") {
				t.Errorf("a key is in the log: %s", met)
			}
		})
	}
	t.Run("no TLS on Redis's side", func(t *testing.T) {
		t.Parallel()
		_, cfg := tlsFiles(t, authority, testcert.Leaf{})
		tlsOutcome(t, testredis.Start(t).Addr, cfg, "set redis.tls.enabled: false")
	})
}

// tlsOutcome starts a gateway and sees it work, or say what it wants; it gives the log.
func tlsOutcome(t *testing.T, addr string, cfg config.RedisTLS, want string) string {
	t.Helper()
	g := newGateway(t, addr, func(s *settings) { s.redis.TLS, s.redis.Timeout, s.down = cfg, time.Second, true })
	if want == "" {
		works(t, g)
		token, _ := g.login(t, "u")
		g.finds(t, token)
		g.finds(t, token)
		return g.log.String()
	}
	await(t, "the log to say "+want, func() bool { return strings.Contains(g.log.String(), want) })
	time.Sleep(time.Second) // several tries more
	if n := strings.Count(g.log.String(), "no connection to Redis"); n > 2 {
		t.Errorf("told %d times: %s", n, g.log.String())
	}
	if _, _, err := g.tryLogin("u"); err == nil {
		t.Error("it works all the same")
	}
	return g.log.String()
}

// TLS with client certificates goes for every node and every sentinel, and over a failover.
func TestMutualTLSOverTopologies(t *testing.T) {
	t.Parallel()
	authority := testcert.NewAuthority(t)
	files, cfg := tlsFiles(t, authority, testcert.Leaf{})
	clientCert(t, authority, testcert.Leaf{})(&cfg)
	t.Run("sentinel", func(t *testing.T) {
		t.Parallel()
		sentinels := testredis.StartSentinel(t, testredis.MutualTLS(files), testredis.Password("secret"))
		g := newGateway(t, "", bySentinel(sentinels.Addresses(), func(r *config.Redis) { r.TLS, r.Password = cfg, "secret" }))
		token, _ := g.login(t, "u")
		g.finds(t, token)
		sentinels.Await()
		old := sentinels.Master()
		old.Kill()
		sentinels.AwaitOther(old)
		works(t, g)
		g.finds(t, token)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := testredis.StartCluster(t, 3, 1, testredis.MutualTLS(files))
		g := newGateway(t, "", func(s *settings) { s.redis.Addresses, s.redis.TLS = cluster.Addresses()[:1], cfg })
		for _, user := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			token, _ := g.login(t, user)
			g.finds(t, token)
		}
		for _, master := range cluster.Masters() {
			if n, _ := ptr(master.Do(t, "DBSIZE")).AsInt64(); n == 0 {
				t.Errorf("%s has no keys", master.Addr)
			}
		}
	})
}
