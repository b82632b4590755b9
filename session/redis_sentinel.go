package session

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"gatehouse/config"

	"github.com/redis/rueidis"
)

// sentinelRefresh is how often the sentinels are asked who is the master. They tell by themselves when it changes; whoever
// misses that would stay with the old master until a restart.
const sentinelRefresh = 5 * time.Second

// account is who we are to Redis, or to its sentinels.
type account struct {
	username string
	password config.Secret
	file     string
	key      string // of file in the config
}

func ofRedis(cfg config.Redis) account {
	return account{cfg.Username, cfg.Password, cfg.PasswordFile, "redis.password_file"}
}

func ofSentinel(s config.RedisSentinel) account {
	return account{s.Username, s.Password, s.PasswordFile, "redis.sentinel.password_file"}
}

func (a account) none() bool { return a.username == "" && a.password == "" && a.file == "" }

// read reads the password file at each new connection: a password that is rotated needs no restart.
func (a account) read() (rueidis.AuthCredentials, error) {
	password := a.password.Reveal()
	if a.file != "" {
		text, err := os.ReadFile(a.file)
		if err != nil {
			return rueidis.AuthCredentials{}, fmt.Errorf("%s: %w", a.key, err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	return rueidis.AuthCredentials{Username: a.username, Password: password}, nil
}

// bySentinel makes the client find the master by its sentinels.
//
// The library asks one function for the credentials of both, Redis and sentinels, and says only which address
// it has dialled. Redis's password must not go to a sentinel, so the dialers note which is which.
func bySentinel(option *rueidis.ClientOption, cfg config.Redis) {
	option.InitAddress = cfg.Sentinel.Addresses
	option.Sentinel = rueidis.SentinelOption{
		MasterSet: cfg.Sentinel.Master, ClientName: option.ClientName, TLSConfig: option.TLSConfig,
		Dialer: option.Dialer, TopologyRefreshInterval: sentinelRefresh,
	}
	var dialled sync.Map // address to account
	noting := func(who account) func(context.Context, string, string, syscall.RawConn) error {
		return func(_ context.Context, _, address string, _ syscall.RawConn) error {
			dialled.Store(address, who)
			return nil
		}
	}
	option.Dialer.ControlContext = noting(ofRedis(cfg))
	option.Sentinel.Dialer.ControlContext = noting(ofSentinel(cfg.Sentinel))
	option.AuthCredentialsFn = func(to rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
		who, ok := dialled.Load(to.Address.String())
		if !ok {
			return rueidis.AuthCredentials{}, &net.AddrError{Err: "neither Redis nor a sentinel was dialled there", Addr: to.Address.String()}
		}
		return who.(account).read()
	}
}

// describeSentinel says what is wrong with the sentinels, and what to do; "" when it is something else.
func describeSentinel(err error) string {
	text, _ := reply(err)
	switch {
	case strings.Contains(text, "No such master with that name"):
		return "the sentinels watch no master of that name, set redis.sentinel.master to the one behind \"sentinel monitor\" in their files: " + text
	case strings.Contains(text, "unknown command 'SENTINEL'"):
		return "what answers is no sentinel, give the sentinels (port 26379 by default) in redis.sentinel.addresses, or Redis itself in redis.addresses: " + text
	}
	return ""
}
