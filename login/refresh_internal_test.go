package login

import "testing"

// Backend app cannot be asked about a user who is not there.
func TestRefreshOfBackendApp(t *testing.T) {
	t.Parallel()
	if r := (&Handler{backend: &appBackend{}}).Refresh(); r.Every != 0 || r.Read != nil {
		t.Errorf("%+v", r)
	}
}
