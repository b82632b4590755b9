package password_test

import (
	"errors"
	"strings"
	"testing"

	"gatehouse/login/password"
)

// Parts of hashes, right in themselves.
const (
	salt     = "c29tZXNhbHQ"
	key      = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	hexKey   = "9dfeb910e80badd3e3fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"
	crypt43  = "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
	crypt22  = "OH0rZLINA2n91HShEVGLp."
	aspnetV3 = "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw=="
)

type badHash struct{ name, hash, says string }

// refuses: the error says what it should, nothing of the hash stands in it, and nothing matches.
func refuses(t *testing.T, cases []badHash) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := password.Parse(tt.hash)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
			for _, secret := range []string{salt, key, hexKey, crypt43, crypt22} {
				if strings.Contains(err.Error(), secret) {
					t.Error("the error repeats the hash")
				}
			}
			if h.Scheme() != "" || h.Matches("") || h.Matches("password") {
				t.Error("what did not parse matches")
			}
		})
	}
}

func TestBadArgon2AndBcrypt(t *testing.T) {
	t.Parallel()
	argon := func(version, params, salt, key string) string {
		return "$argon2id$" + version + "$" + params + "$" + salt + "$" + key
	}
	refuses(t, []badHash{
		{"bcrypt short", phpManual[:59], "60 characters"},
		{"bcrypt long", phpManual + "x", "60 characters"},
		{"bcrypt broken version", strings.Replace(phpManual, "2y", "2x", 1), "60 characters"},
		{"bcrypt line end", phpManual[:59] + "\n", "60 characters"},
		{"bcrypt padded by char(n)", phpManual + "   ", "60 characters"},
		{"bcrypt cost too high", strings.Replace(phpManual, "$07$", "$31$", 1), "cost 31"},
		{"bcrypt cost too low", strings.Replace(phpManual, "$07$", "$03$", 1), "cost 3"},
		{"Django bcrypt damaged", "bcrypt$" + phpManual[1:], "60 characters"},
		{"Django bcrypt cost", "bcrypt_sha256$" + strings.Replace(phpManual, "$07$", "$17$", 1), "use 4 to 16"},
		{"WordPress damaged", "$wp" + phpManual[:50], "60 characters"},
		{"parts missing", "$argon2id$v=19$m=256,t=2,p=1$" + salt, "form is"},
		{"old version", argon("v=16", "m=256,t=2,p=1", salt, key), "v=19"},
		{"no version", "argon2$argon2i$m=8,t=1,p=1$" + salt + "$" + key, "version 16"},
		{"argon2d", "$argon2d$v=19$m=256,t=2,p=1$" + salt + "$" + key, "not meant for passwords"},
		{"Django argon2d", "argon2$argon2d$v=19$m=256,t=2,p=1$" + salt + "$" + key, "not meant for passwords"},
		{"Django argon2 unknown", "argon2$argon2ix$v=19$m=256,t=2,p=1$" + salt + "$" + key, "form is"},
		{"params in another order", argon("v=19", "t=2,m=256,p=1", salt, key), "of the form"},
		{"params missing", argon("v=19", "m=256,t=2", salt, key), "of the form"},
		{"params with sign", argon("v=19", "m=+256,t=2,p=1", salt, key), "of the form"},
		{"params overflow", argon("v=19", "m=99999999999,t=2,p=1", salt, key), "of the form"},
		{"parts in another order", argon("v=19", key, "m=256,t=2,p=1", salt), "of the form"},
		{"memory in bytes", argon("v=19", "m=19922944,t=2,p=1", salt, key), "m=19922944 (KiB) is out of range"},
		{"memory below threads", argon("v=19", "m=8,t=2,p=2", salt, key), "out of range"},
		{"no pass", argon("v=19", "m=256,t=0,p=1", salt, key), "t=0"},
		{"too many passes", argon("v=19", "m=256,t=65,p=1", salt, key), "t=65"},
		{"no thread", argon("v=19", "m=256,t=2,p=0", salt, key), "p=0"},
		{"threads wrap around a byte", argon("v=19", "m=4096,t=2,p=257", salt, key), "p=257"},
		{"too much work", argon("v=19", "m=1048576,t=5,p=1", salt, key), "takes too long"},
		{"too much work of argon2i", strings.Replace(argon("v=19", "m=1048576,t=5,p=1", salt, key), "2id", "2i", 1), "argon2i m=1048576"},
		{"short salt", argon("v=19", "m=256,t=2,p=1", "c29tZQ", key), "salt"},
		{"salt no base64", argon("v=19", "m=256,t=2,p=1", "c29tZXNhbHQ==", key), "salt"},
		{"salt second spelling", argon("v=19", "m=256,t=2,p=1", "c29tc2FsdB", key), "salt"},
		{"salt with line end", argon("v=19", "m=256,t=2,p=1", salt+"\n", key), "salt"},
		{"short key", argon("v=19", "m=256,t=2,p=1", salt, "nf65EOgL"), "key"},
		{"no key", argon("v=19", "m=256,t=2,p=1", salt, ""), "key"},
	})
}

func TestBadScryptAndPBKDF2(t *testing.T) {
	t.Parallel()
	refuses(t, []badHash{
		{"scrypt parts missing", "$scrypt$ln=14,r=8,p=1$" + salt, "form is"},
		{"scrypt order", "$scrypt$r=8,ln=14,p=1$" + salt + "$" + key, "form is"},
		{"scrypt short salt", "$scrypt$ln=14,r=8,p=1$c29t$" + key, "form is"},
		{"scrypt short key", "$scrypt$ln=14,r=8,p=1$" + salt + "$" + salt, "form is"},
		{"scrypt above 1 GiB", "$scrypt$ln=21,r=8,p=1$" + salt + "$" + key, "8388608 at most"},
		{"scrypt p", "$scrypt$ln=14,r=8,p=65$" + salt + "$" + key, "p=65"},
		{"scrypt ln wraps around", "$scrypt$ln=67,r=8,p=1$" + salt + "$" + key, "out of range"},
		{"scrypt product wraps around", "$scrypt$ln=4,r=4294967295,p=4294967295$" + salt + "$" + key, "out of range"},
		{"Werkzeug scrypt product is 2^64", "scrypt:2147483648:2147483648:4$salt$" + hexKey, "out of range"},
		{"scrypt no r", "$scrypt$ln=14,r=0,p=1$" + salt + "$" + key, "r=0"},
		{"Werkzeug scrypt no power", "scrypt:32767:8:1$salt$" + hexKey, "power of two"},
		{"Werkzeug scrypt N=1", "scrypt:1:8:1$salt$" + hexKey, "above 1"},
		{"Werkzeug scrypt without numbers", "scrypt:$salt$" + hexKey, "form is"},
		{"Werkzeug scrypt zeros", "scrypt:032768:8:1$salt$" + hexKey, "form is"},
		{"Werkzeug scrypt without salt", "scrypt:32768:8:1$$" + hexKey, "form is"},
		{"Werkzeug scrypt long salt", "scrypt:32768:8:1$" + strings.Repeat("s", 129) + "$" + hexKey, "form is"},
		{"Werkzeug scrypt capitals", "scrypt:32768:8:1$salt$" + strings.ToUpper(hexKey), "form is"},
		{"Django scrypt salt first", "scrypt$salt$16384$8$1$" + key + "=", "form is"},
		{"Django scrypt without padding", "scrypt$16384$salt$8$1$" + key, "form is"},
		{"Django scrypt p", "scrypt$16384$salt$8$1000$" + key + "=", "p=1000"},
		{"crypt scrypt short", "$7$CU..../....salt$" + crypt22, "form is"},
		{"crypt scrypt above 1 GiB", "$7$IU..../....salt$" + crypt43, "N=1048576, r=32"},
		{"crypt scrypt N=2^63", "$7$zU..../....salt$" + crypt43, "out of range"},
		{"Django PBKDF2 unknown hash", "pbkdf2_md5$1000$salt$" + key + "=", "form is"},
		{"Django PBKDF2 no iteration", "pbkdf2_sha256$0$salt$" + key + "=", "0 iterations"},
		{"Django PBKDF2 too many", "pbkdf2_sha256$5000001$salt$" + key + "=", "use 1 to 5000000"},
		{"Django PBKDF2 overflow", "pbkdf2_sha256$4294967297$salt$" + key + "=", "form is"},
		{"Django PBKDF2 negative", "pbkdf2_sha256$-1$salt$" + key + "=", "form is"},
		{"Django PBKDF2 key of another hash", "pbkdf2_sha1$1000$salt$" + key + "=", "form is"},
		{"Werkzeug PBKDF2 without iterations", "pbkdf2:sha256$salt$" + hexKey, "form is"},
		{"Werkzeug PBKDF2 too many", "pbkdf2:sha256:99999999$salt$" + hexKey, "99999999 iterations"},
		{"Werkzeug PBKDF2 unknown hash", "pbkdf2:md5:1000$salt$" + hexKey, "form is"},
		{"passlib PBKDF2 plus", "$pbkdf2-sha256$1000$c29tZXNhb+Q$" + key, "form is"},
		{"passlib PBKDF2 unknown hash", "$pbkdf2-md5$1000$" + salt + "$" + key, "form is"},
		{"passlib PBKDF2 other name", "$pbkdf2x$1000$" + salt + "$" + key, "form is"},
		{"passlib PBKDF2 too many", "$pbkdf2-sha256$5000001$" + salt + "$" + key, "use 1 to 5000000"},
		{"ASP.NET unknown hash", "AQAAAAMA" + aspnetV3[8:], "hash function 3"},
		{"ASP.NET hash of 2^32", "Af////8A" + aspnetV3[8:], "hash function 4294967295"},
		{"ASP.NET iterations", "AQAAAAH/////AAAAEA" + aspnetV3[18:], "4294967295 iterations"},
		{"ASP.NET two blocks", "AQAAAAAAJiWhAAAAEA" + aspnetV3[18:], "use 1 to 2500000"},
		{"ASP.NET no iteration", "AQAAAAEAAAAAAAAAEA" + aspnetV3[18:], "0 iterations"},
		{"ASP.NET salt longer than all", "AQAAAAEAACcQAAAAPA" + aspnetV3[18:], "damaged"},
		{"ASP.NET salt of 4 GiB", "AQAAAAEAACcQ/////w" + aspnetV3[18:], "damaged"},
		{"ASP.NET short salt", "AQAAAAEAACcQAAAACA" + aspnetV3[18:], "damaged"},
		{"ASP.NET cut", aspnetV3[:44], "must begin with"},
		{"ASP.NET marker 2", "Ag" + aspnetV3[2:], "must begin with"},
		{"ASP.NET v2 longer", "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJgAAAAAAAAAAAAA=", "must begin with"},
		{"ASP.NET v2 shorter", "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1u", "must begin with"},
	})
}

func TestBadCryptAndPhpass(t *testing.T) {
	t.Parallel()
	refuses(t, []badHash{
		{"sha256crypt with 86", "$5$salt$" + crypt43 + crypt43, "form is"},
		{"sha512crypt with 43", "$6$salt$" + crypt43, "form is"},
		{"sha256crypt without salt", "$5$$" + crypt43, "form is"},
		{"sha256crypt long salt", "$5$12345678901234567$" + crypt43, "form is"},
		{"sha256crypt colon in salt", "$5$sa:lt$" + crypt43, "form is"},
		{"sha256crypt zeros", "$5$rounds=05000$salt$" + crypt43, "form is"},
		{"sha256crypt few rounds", "$5$rounds=999$salt$" + crypt43, "use 1000 to 1000000"},
		{"sha256crypt many rounds", "$5$rounds=999999999$salt$" + crypt43, "rounds=999999999"},
		{"sha256crypt rounds overflow", "$5$rounds=9999999999$salt$" + crypt43, "form is"},
		{"md5crypt short", "$1$abc$def", "damaged"},
		{"md5crypt long salt", "$1$123456789$" + crypt22, "damaged"},
		{"apr1 without salt", "$apr1$$" + crypt22, "damaged"},
		{"apr1 long", "$apr1$salt$" + crypt22 + "x", "damaged"},
		{"phpass short", "$P$Bsaltsalt" + crypt22[:21], "31 characters"},
		{"phpass other characters", "$H$Bsalt+alt" + crypt22, "31 characters"},
		{"phpass many rounds", "$P$Jsaltsalt" + crypt22, "use 2^7 to 2^20"},
		{"phpass few rounds", "$P$4saltsalt" + crypt22, "2^6 rounds"},
		{"Drupal not cut", "$S$Dsaltsalt" + crypt43 + crypt43, "52 characters"},
		{"Drupal many rounds", "$S$ssaltsalt" + crypt43, "2^56 rounds"},
	})
}

// What is known and refused says why, so that nobody looks for a typing mistake.
func TestRefused(t *testing.T) {
	t.Parallel()
	refuses(t, []badHash{
		{"plain text", "hunter22", "must begin with"},
		{"plain text with A", "Antelope22", "must begin with"},
		{"blank before", " " + phpManual, "must begin with"},
		{"yescrypt", "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$" + crypt43, "yescrypt"},
		{"gost-yescrypt", "$gy$j9T$F5Jx5fExrKuPp53xLKQ..1$" + crypt43, "gost-yescrypt"},
		{"htpasswd SHA", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "htpasswd -B"},
		{"LDAP", "{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "one round"},
		{"Django SHA-1", "sha1$seasalt$cff36ea83f5706ce9aa7454e63e431fc726b2dc8", "SHA-1"},
		{"Django MD5", "md5$seasalt$3f86d0d3d465b7b458c231bf3555c0e3", "MD5"},
		{"Django crypt", "crypt$$ab1Hv2Lg7ltQo", "DES"},
		{"Werkzeug SHA-256", "sha256$salt$" + hexKey, "SHA-256"},
		{"MD5", "5f4dcc3b5aa765d61d8327deb882cf99", "without a salt"},
		{"SHA-256", strings.ToUpper(hexKey), "without a salt"},
		{"SunMD5", "$md5,rounds=5000$salt$$" + crypt22, "SunMD5"},
		{"sha1crypt", "$sha1$40000$salt$" + crypt43, "sha1crypt"},
		{"passlib bcrypt-sha256", "$bcrypt-sha256$v=2,t=2b,r=12$" + crypt22 + "$" + crypt43[:31], "bcrypt-sha256"},
		{"Drupal upgraded", "U$S$Dsaltsalt" + crypt43, "Drupal 7"},
		{"endless", "$5$" + strings.Repeat("s", 1<<20), "longer than any hash"},
	})
}

// Accounts without a password are not mistakes of a hash: a backend must be able to tell.
func TestUnusable(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "!", "!!", "*", "*0", "!QmmXtWoXhFlAgxtHQmNhZhzCyA3bXwNWHbuCjVdg", "!" + phpManual,
	} {
		h, err := password.Parse(text)
		if !errors.Is(err, password.ErrUnusable) || h.Scheme() != "" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if !strings.Contains(password.ErrUnusable.Error(), "gatehouse users passwd") {
		t.Error("the error does not say what to do")
	}
	for _, text := range []string{"x", phpManual[:59], "hunter22", " "} {
		if _, err := password.Parse(text); err == nil || errors.Is(err, password.ErrUnusable) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
