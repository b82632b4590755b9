package session

import "testing"

// Any program may make keys in the same Redis: what their names say is taken for ours only when it is exactly that.
func FuzzParseIndex(f *testing.F) {
	f.Add("", "user_sessions:{"+string(TagOf("42"))+"}:42")
	f.Add("p:", "p:user_sessions:{}:")
	f.Add("p:", "p:user_sessions:{aaaaaaaaaaa}:x")
	f.Add("", "user_sessions:{"+string(TagOf("a}:b"))+"}:a}:b")
	f.Fuzz(func(t *testing.T, prefix, text string) {
		k := keyspace{prefix: prefix}
		if userID, placed, _ := k.parseIndex(text); placed != (userID != "" && k.index(userID) == text) && userID != "" {
			t.Errorf("%q of user %q: placed %v", text, userID, placed)
		}
		userID, placed, ok := k.parseIndex(k.index(text))
		if ok != validUserID(text) || ok && (!placed || userID != text) {
			t.Errorf("the index of %q is read as that of %q, %v, %v", text, userID, placed, ok)
		}
	})
}
