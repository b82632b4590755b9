package session

// valid is what a backend says as a record keeps it.
func (c Change) valid() Change {
	clean := func(s *string) *string {
		if s == nil {
			return nil
		}
		v := valid(*s)
		return &v
	}
	return Change{Name: clean(c.Name), Role: clean(c.Role), Email: clean(c.Email), EmailVerified: c.EmailVerified}
}

// possible leaves out what Manager.Change would refuse. A login takes it all the same, and one bad name must not keep
// a role from being taken away.
func (c Change) possible() Change {
	if (Change{Name: c.Name}).check() != nil {
		c.Name = nil
	}
	if (Change{Role: c.Role}).check() != nil {
		c.Role = nil
	}
	if (Change{Email: c.Email}).check() != nil {
		c.Email = nil
	}
	return c
}

// matches reports whether the user is so already.
func (c Change) matches(u *User) bool {
	return (c.Email == nil || *c.Email == u.Email) && (c.Name == nil || *c.Name == u.Name) && (c.Role == nil || *c.Role == u.Role) &&
		(c.EmailVerified == nil || *c.EmailVerified == u.EmailVerified)
}

func (c Change) equal(d Change) bool {
	return same(c.Email, d.Email) && same(c.Name, d.Name) && same(c.Role, d.Role) && same(c.EmailVerified, d.EmailVerified)
}

func same[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
