package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

// space is the part of a Redis that the gateways of one case share. The names of the keys are
// design.md's, written down here once more: what operators and other programs find in Redis is a contract.
type space struct {
	server *testredis.Server
	prefix string
}

// space gives a case keys of its own on the shared Redis.
func (s *setup) space() space { return space{s.redis, prefix()} }

// ownSpace is a whole redis-server, for cases that hurt it or count its commands.
func ownSpace(t *testing.T, opts ...testredis.Option) space {
	return space{server: testredis.Start(t, opts...)}
}

// section is the `redis:` section for it. The timeout is that of cases which are not about time: with
// two cores under the load of a whole suite, Redis may take longer than a healthy one does.
func (sp space) section() string {
	return fmt.Sprintf("redis: {addresses: [%q], key_prefix: %q, timeout: 3s}\n", sp.server.Addr, sp.prefix)
}

func sessionID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func tagOf(userID string) string {
	sum := sha256.Sum256([]byte(userID))
	return base64.RawURLEncoding.EncodeToString(sum[:8])
}

// session is the key of a token's record.
func (sp space) session(token string) string {
	tag, _, _ := strings.Cut(token, ".")
	return sp.prefix + "session:{" + tag + "}:" + sessionID(token)
}

// index is the key of a user's sorted set of sessions.
func (sp space) index(userID string) string {
	return sp.prefix + "user_sessions:{" + tagOf(userID) + "}:" + userID
}

// sessions are the keys of all records.
func (sp space) sessions(t *testing.T) []string {
	t.Helper()
	return sp.strings(t, "KEYS", sp.prefix+"session:*")
}

// strings runs a command that answers a list.
func (sp space) strings(t *testing.T, args ...string) []string {
	t.Helper()
	m := sp.server.Do(t, args...)
	list, err := m.AsStrSlice()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return list
}

// text runs a command that answers a string, "" for none.
func (sp space) text(t *testing.T, args ...string) string {
	t.Helper()
	m := sp.server.Do(t, args...)
	if n, err := m.AsInt64(); err == nil && m.IsInt64() {
		return strconv.FormatInt(n, 10)
	}
	s, _ := m.ToString()
	return s
}

func (sp space) number(t *testing.T, args ...string) int64 {
	t.Helper()
	m := sp.server.Do(t, args...)
	n, err := m.AsInt64()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return n
}

// record is a token's record as Redis holds it.
type record struct {
	V                                  int
	ID                                 string
	UserID                             json.RawMessage
	CreatedAt, LastAccessed, ExpiresAt time.Time
	Sealed                             string
}

// record reads a token's record; there must be one.
func (sp space) record(t *testing.T, token string) record {
	t.Helper()
	var r record
	if err := json.Unmarshal([]byte(sp.text(t, "GET", sp.session(token))), &r); err != nil {
		t.Fatalf("the record of a session: %v", err)
	}
	return r
}

var lastAccessed = regexp.MustCompile(`"lastAccessed":"[^"]*"`)

// age makes the sessions look unused for that long, so that their next use is due to be written.
func (sp space) age(t *testing.T, by time.Duration, tokens ...string) {
	t.Helper()
	c := sp.server.Client(t)
	then := `"lastAccessed":"` + time.Now().Add(-by).UTC().Format("2006-01-02T15:04:05.000Z") + `"`
	for _, token := range tokens {
		key := sp.session(token)
		text, err := c.Do(t.Context(), c.B().Get().Key(key).Build()).ToString()
		if err != nil || !lastAccessed.MatchString(text) {
			t.Fatalf("a record to age: %q, %v", text, err)
		}
		if err := c.Do(t.Context(), c.B().Set().Key(key).Value(lastAccessed.ReplaceAllString(text, then)).Keepttl().Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
}

// copies makes n more sessions of a token's user by writing them into Redis: the same as logging in n
// times, without hashing n passwords.
func (sp space) copies(t *testing.T, token string, n int) []string {
	t.Helper()
	c := sp.server.Client(t)
	text, ttl := sp.text(t, "GET", sp.session(token)), sp.text(t, "PTTL", sp.session(token))
	index := sp.index(strings.Trim(string(sp.record(t, token).UserID), `"`))
	score := sp.text(t, "ZSCORE", index, sessionID(token))
	tag, _, _ := strings.Cut(token, ".")
	tokens := make([]string, n)
	for i := range tokens {
		secret := make([]byte, 32)
		rand.Read(secret)
		tokens[i] = tag + "." + base64.RawURLEncoding.EncodeToString(secret)
		said.secret(tokens[i])
		own := strings.Replace(text, sessionID(token), sessionID(tokens[i]), 1)
		for _, err := range []error{
			c.Do(t.Context(), c.B().Arbitrary("SET").Keys(sp.session(tokens[i])).Args(own, "PX", ttl).Build()).Error(),
			c.Do(t.Context(), c.B().Arbitrary("ZADD").Keys(index).Args(score, sessionID(tokens[i])).Build()).Error(),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return tokens
}

// dump is every string Redis holds: keys, values, members.
func (sp space) dump(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, key := range sp.strings(t, "KEYS", sp.prefix+"*") {
		all = append(all, key)
		switch kind := sp.text(t, "TYPE", key); kind {
		case "string":
			all = append(all, sp.text(t, "GET", key))
		case "zset":
			all = append(all, sp.strings(t, "ZRANGE", key, "0", "-1", "WITHSCORES")...)
		case "none": // has run out since the keys were listed
		default:
			t.Fatalf("%s is a %s, which no key of a gateway is", key, kind)
		}
	}
	return all
}

// indexHolds checks the index against the records, both ways: each live session is in its user's
// index, which outlives it. It gives how many sessions there are.
func (sp space) indexHolds(t *testing.T) int {
	t.Helper()
	keys := sp.sessions(t)
	for _, key := range keys {
		var r record
		if err := json.Unmarshal([]byte(sp.text(t, "GET", key)), &r); err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		index := sp.index(strings.Trim(string(r.UserID), `"`))
		score, err := strconv.ParseFloat(sp.text(t, "ZSCORE", index, r.ID), 64)
		if err != nil {
			t.Errorf("%s is alive and not in %s", key, index)
			continue
		}
		// In this order: the index is asked first, so time that passes between the two makes no difference.
		indexTTL, ttl := sp.number(t, "PTTL", index), sp.number(t, "PTTL", key)
		if left := time.Until(time.UnixMilli(int64(score))).Milliseconds(); left < ttl-2000 || left > ttl+2000 {
			t.Errorf("%s lives for %d ms more, the index says %d ms", key, ttl, left)
		}
		if indexTTL < ttl {
			t.Errorf("%s ends in %d ms, before its session's %d ms", index, indexTTL, ttl)
		}
	}
	return len(keys)
}

// unasked are commands that a connection sends by itself, when it begins or has been quiet for long.
var unasked = []string{"hello", "ping", "info", "auth", "select", "client|setinfo", "client|tracking", "client|caching", "client|setname", "client|no-evict", "command"}

// commands counts what Redis was asked so far, by command. Commands in scripts count as well.
func (sp space) commands(t *testing.T) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for line := range strings.SplitSeq(sp.text(t, "INFO", "commandstats"), "\r\n") {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok || slices.Contains(unasked, name) {
			continue
		}
		n, _, _ := strings.Cut(rest, ",")
		counts[name], _ = strconv.Atoi(n)
	}
	return counts
}

// since is what has been asked after before was taken.
func (sp space) since(t *testing.T, before map[string]int) map[string]int {
	t.Helper()
	after := sp.commands(t)
	maps.DeleteFunc(after, func(name string, n int) bool { return n == before[name] })
	for name := range after {
		after[name] -= before[name]
	}
	return after
}

// startReady is start for a gateway with the default redis.timeout: it waits until Redis has been found,
// for which between loaded cores the first try may not be enough.
func startReady(t *testing.T, config string, opts options) *gateway {
	t.Helper()
	g := start(t, config, opts)
	b := newBrowser(t, g.url)
	eventually(t, "the gateway to be ready", func() bool {
		return b.get("/.gatehouse/readyz").StatusCode == 200 && g.metric(t, "gatehouse_redis_outage") == "0"
	})
	return g
}

// whoApp starts an application that answers with the identity it is told, and the query.
func whoApp(t *testing.T) string {
	return startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "user=%s role=%s query=%s", r.Header.Get("X-User-Id"), r.Header.Get("X-User-Role"), r.URL.RawQuery)
	}))
}

// sections puts keys into a section of a config that has that section already.
func sections(config, section, keys string) string {
	if !strings.Contains(config, "\n"+section+":\n") {
		panic("the config has no section " + section)
	}
	return strings.Replace(config, "\n"+section+":\n", "\n"+section+":\n  "+keys+"\n", 1)
}

// at is the same browser, cookies and all, at another replica.
func (b *browser) at(g *gateway) *browser {
	other := *b
	other.base = g.url
	return &other
}

// holder is a browser that has a token, wherever it got it.
func holder(t *testing.T, g *gateway, token string) *browser {
	b := newBrowser(t, g.url)
	u, _ := url.Parse(g.url)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "gatehouse", Value: token, Path: "/"}})
	return b
}

// plainClient follows nothing and keeps no cookies. Unlike a browser it may be used by many goroutines.
func plainClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// send sends one request and reads the answer. It fails no test, so any goroutine may call it.
func send(c *http.Client, method, url, token, body string, header ...string) (answer, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Cookie", "gatehouse="+token)
	}
	req.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	for _, cookie := range resp.Cookies() {
		if strings.Contains(cookie.Name, "gatehouse") && cookie.Value != "" {
			said.secret(cookie.Value)
		}
	}
	return answer{resp, string(text)}, err
}

// tokenOf is the token an answer gives, "" for none.
func (a answer) tokenOf() string {
	for _, c := range a.Cookies() {
		if strings.Contains(c.Name, "gatehouse") {
			return c.Value
		}
	}
	return ""
}

// signIns logs the same user in n times, at the gateways in turn, and gives the tokens.
func signIns(t *testing.T, n int, email, password string, gateways ...*gateway) []string {
	t.Helper()
	said.secret(password)
	c := plainClient(t)
	tokens, errs := make([]string, n), make([]error, n)
	parallel(4, n, func(i int) {
		var got answer
		if got, errs[i] = send(c, "POST", gateways[i%len(gateways)].url+"/login", "", form("email", email, "password", password).Encode()); errs[i] == nil {
			if tokens[i] = got.tokenOf(); tokens[i] == "" {
				errs[i] = fmt.Errorf("login answered %s", got.Status)
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return tokens
}

// parallel calls f with 0 to n-1, so many at a time, and waits for the last.
func parallel(workers, n int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// metricSum adds the values of a metric over gateways.
func metricSum(t *testing.T, name string, gateways ...*gateway) int {
	t.Helper()
	sum := 0.0
	for _, g := range gateways {
		v, err := strconv.ParseFloat(g.metric(t, name), 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return int(sum)
}
