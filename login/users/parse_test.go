package users_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gatehouse/login/password"
	"gatehouse/login/users"
)

// hash is of "correct-horse-1", with the smallest parameters: these tests are not about strength.
var hash = password.New("correct-horse-1", password.Params{Memory: 8, Time: 1, Threads: 1})

// bcryptHash is of "rasmuslerdorf" (PHP manual).
const bcryptHash = "$2a$07$usesomesillystringfore2uDLvp1Ii2e./U9C8sBjqp8I90dH6hi"

// file puts the hash where H stands.
func file(text string) []byte { return []byte(strings.ReplaceAll(text, "H\n", "'"+hash+"'\n")) }

const good = `# who may log in
users:
  - id: 1
    email: Admin@Example.com
    name: Ada Admin
    role: admin
    email_verified: true
    password_hash: H
  # the second one
  - id: "u-2"
    email: user@example.com
    password_hash: ` + bcryptHash + `
    disabled: true # until May
  - {id: 9007199254740993, email: big@example.com, name: "12", role: null, password_hash: ` + bcryptHash + `}
`

func TestParse(t *testing.T) {
	t.Parallel()
	set, err := users.Parse(file(good))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range set.All() {
		got = append(got, fmt.Sprintf("%d %s %s %q %q %v %v %s", u.Line, u.ID, u.Email, u.Name, u.Role, u.EmailVerified, u.Disabled, u.Hash.Scheme()))
	}
	want := []string{
		`3 1 Admin@Example.com "Ada Admin" "admin" true false argon2id`,
		`10 u-2 user@example.com "" "" false true bcrypt`,
		`14 9007199254740993 big@example.com "12" "" false false bcrypt`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, account := range []string{"admin@example.com", " ADMIN@EXAMPLE.COM\t", "\uff41dmin@example.com"} {
		if u, ok := set.Find(account); !ok || u.ID != "1" {
			t.Errorf("%q is not found", account)
		}
	}
	for _, account := range []string{"", "1", "Ada Admin", "nobody@example.com"} {
		if u, ok := set.Find(account); ok {
			t.Errorf("%q finds user %s", account, u.ID)
		}
	}
}

func TestEmptyFiles(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n\n", "# nobody yet\n", "users:\n", "users: []\n", "users: null\n", "---\n", "{}\n", "next_id: 7\n"} {
		set, err := users.Parse([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if _, found := set.Find(""); set.Len() != 0 || found {
			t.Errorf("%q: %d users", text, set.Len())
		}
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	entry := func(fields string) string { return "users:\n  - " + strings.ReplaceAll(fields, "\n", "\n    ") + "\n" }
	const base = "id: 1\nemail: a@example.com\npassword_hash: H"
	for _, tt := range []struct {
		name, text string
		says       []string // "line: words" of each problem, in order
	}{
		{"no YAML", "users:\n  - id: 1\n   email: x\n", []string{"3: no YAML"}},
		{"tab", "users:\n\t- id: 1\n", []string{"2: no YAML"}},
		{"two documents", "users: []\n---\nusers: []\n", []string{"2: the file holds several documents"}},
		{"a list on top", "- id: 1\n", []string{"1: the file must be made of keys"}},
		{"users no list", "users: {id: 1}\n", []string{"1: must be a list"}},
		{"unknown top key", "user: []\n", []string{`1: unknown key "user" (did you mean users?)`}},
		{"entry no mapping", "users:\n  - bob\n", []string{"2: a user must be made of keys"}},
		{"unknown key", entry(base + "\nemial: x"), []string{`5: unknown key "emial" (did you mean email?)`}},
		{"plain password", entry(base + "\npassword: x"), []string{`5: unknown key "password"; known keys: id,`}},
		{"key in capitals", entry(base + "\nRole: x"), []string{`5: unknown key "Role" (did you mean role?)`}},
		{"key twice", entry(base + "\nemail: b@example.com"), []string{"5: email is given twice"}},
		{"merge key", entry(base + "\n<<: {role: admin}"), []string{`5: unknown key "<<"`}},
		{"nothing given", entry("name: x"), []string{"2: id is missing", "2: email is missing", "2: password_hash is missing"}},
		{"same email", entry(base) + "  - {id: 2, email: 'A@EXAMPLE.com', password_hash: " + bcryptHash + "}\n", []string{"5: the same account as in line 2"}},
		{"same id", entry(base) + "  - {id: 1, email: b@example.com, password_hash: " + bcryptHash + "}\n", []string{"5: id 1 is also in line 2"}},
		{"same id as text", entry(base) + "  - {id: '1', email: b@example.com, password_hash: " + bcryptHash + "}\n", []string{"5: id 1 is also in line 2"}},
		{"octal id", entry("id: 007\nemail: a@example.com\npassword_hash: H"), []string{"2: read in two ways"}},
		{"hexadecimal id", entry("id: 0x1F\nemail: a@example.com\npassword_hash: H"), []string{"2: read in two ways"}},
		{"float id", entry("id: 1.5\nemail: a@example.com\npassword_hash: H"), []string{"2: id must be a text"}},
		{"bool id", entry("id: true\nemail: a@example.com\npassword_hash: H"), []string{"2: id must be a text"}},
		{"empty id", entry("id: ''\nemail: a@example.com\npassword_hash: H"), []string{"2: id must not be empty"}},
		{"id with space", entry("id: ' 1'\nemail: a@example.com\npassword_hash: H"), []string{"2: id must not be empty nor begin"}},
		{"list as id", entry("id: [1]\nemail: a@example.com\npassword_hash: H"), []string{"2: id must be a text"}},
		{"no email address", entry("id: 1\nemail: bob\npassword_hash: H"), []string{`3: email "bob" is none`}},
		{"email with space", entry("id: 1\nemail: b ob@example.com\npassword_hash: H"), []string{"3: is none"}},
		{"line end in name", entry(base + "\nname: \"a\\r\\nX-Admin: 1\""), []string{"5: name holds a control character"}},
		{"long name", entry(base + "\nname: " + strings.Repeat("x", 257)), []string{"5: name is longer than 256"}},
		{"number as name", entry(base + "\nname: 12"), []string{"5: name must be a text; write it in quotes"}},
		{"yes is no bool", entry(base + "\ndisabled: yes"), []string{"5: disabled must be true or false"}},
		{"number as bool", entry(base + "\nemail_verified: 1"), []string{"5: email_verified must be true or false"}},
		{"null as bool", entry(base + "\ndisabled:"), []string{"5: disabled must be true or false"}},
		{"empty hash", entry("id: 1\nemail: a@example.com\npassword_hash: ''"), []string{"4: password_hash: the hash is empty"}},
		{"plain text hash", entry("id: 1\nemail: a@example.com\npassword_hash: hunter22"), []string{"4: password_hash: this is no hash"}},
		{"costly hash", entry("id: 1\nemail: a@example.com\npassword_hash: " + strings.Replace(bcryptHash, "$07$", "$30$", 1)), []string{"4: bcrypt cost 30"}},
		{"alias", "users:\n  - &a {id: 1, email: a@example.com, password_hash: H\n}\n  - *a\n", []string{"4: a user must be made of keys"}},
		{"bad next_id", "next_id: -1\nusers: []\n", []string{"1: next_id must be a whole number"}},
		{"next_id as text", "next_id: '5'\n", []string{"1: next_id must be a whole number"}},
		{"several", entry("id: 1\nemail: bob\nrole: [x]\nhash: H"), []string{"2: password_hash is missing", "3: is none", "4: role must be a text", "5: unknown key"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := users.Parse(file(tt.text))
			var invalid *users.InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("error %v, want an InvalidError", err)
			}
			if len(invalid.Problems) != len(tt.says) {
				t.Fatalf("problems:\n%v\nwant %q", err, tt.says)
			}
			for i, p := range invalid.Problems {
				line, words, _ := strings.Cut(tt.says[i], ": ")
				if fmt.Sprint(p.Line) != line || !strings.Contains(p.Message, words) {
					t.Errorf("line %d: %s; want %q", p.Line, p.Message, tt.says[i])
				}
			}
			if strings.Contains(err.Error(), "$argon2id$v") || strings.Contains(err.Error(), "hunter22") {
				t.Errorf("the error shows a hash: %v", err)
			}
		})
	}
}

func TestDecoy(t *testing.T) {
	t.Parallel()
	mixed, err := users.Parse(file(good))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i := range 600 {
		account := fmt.Sprintf("nobody-%d@example.com", i)
		h := mixed.Decoy(account)
		seen[h.Scheme()]++
		if again := mixed.Decoy(strings.ToUpper(account) + " "); again.Scheme() != h.Scheme() {
			t.Fatalf("%s gets another decoy when spelled otherwise", account)
		}
	}
	// One user of three has argon2id: unknown accounts are spread like known ones.
	if n := seen[password.Argon2id]; n < 130 || n > 270 || n+seen[password.Bcrypt] != 600 {
		t.Errorf("decoys %v, want about a third argon2id", seen)
	}
	same, err := users.Parse(file(good))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		account := fmt.Sprint(i)
		if same.Decoy(account).Scheme() != mixed.Decoy(account).Scheme() {
			t.Fatal("two replicas with one file choose different decoys")
		}
	}
	if scheme := new(users.Set).Decoy("x").Scheme(); scheme != password.Argon2id {
		t.Errorf("decoy of an empty file is %q", scheme)
	}
}

func TestNextID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, ids, next, want string }{
		{"none", "", "", "1"},
		{"after the greatest", "3 1", "", "4"},
		{"texts do not count", "u-9 abc 007x", "", "1"},
		{"remembered", "3", "8", "8"},
		{"remembered too little", "12", "8", "13"},
		{"beyond JSON's numbers", "9007199254740993 4", "", "5"},
	} {
		text := "users:\n"
		for i, id := range strings.Fields(tt.ids) {
			text += fmt.Sprintf("  - {id: %s, email: u%d@example.com, password_hash: %s}\n", id, i, bcryptHash)
		}
		if tt.next != "" {
			text += "next_id: " + tt.next + "\n"
		}
		set, err := users.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if got := set.NextID(); got != tt.want {
			t.Errorf("%s: next ID %s, want %s", tt.name, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(file(good)))
	f.Add("users: [{id: 1}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := users.Parse([]byte(text))
		if (set == nil) == (err == nil) {
			t.Fatalf("set %v with error %v", set, err)
		}
		if err != nil {
			return
		}
		for _, u := range set.All() {
			if found, ok := set.Find(u.Email); !ok || found.ID != u.ID || u.ID == "" || u.Hash.Scheme() == "" {
				t.Fatalf("user %+v is not found or not whole", u)
			}
		}
	})
}
