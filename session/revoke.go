package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gatehouse/internal/fault"
	"gatehouse/telemetry"
)

// The reasons a session ends for, as label values of the metric for ended sessions.
const (
	endLogout   = "logout"
	endReplaced = "replaced"
	endEvicted  = "evicted"
	endRevoked  = "revoked"
	// endOrphan is a session whose creation failed halfway: nobody has its token, nobody is told.
	endOrphan = ""
)

// Revoke ends one session. From the call on this replica refuses it. nil: the store has confirmed
// it, no replica accepts it longer than its cache needs to hear of it. ErrUnconfirmed: the store
// could not be told; that is retried until it confirms or the session would have ended anyway.
func (m *Manager) Revoke(ctx context.Context, key Key, userID string) error {
	return m.revoke(ctx, key, userID, endLogout)
}

func (m *Manager) revoke(ctx context.Context, key Key, userID, reason string) error {
	m.endings.refuse(key.ID)
	defer m.notify([]ID{key.ID})
	fault.Point("logout.refused")
	there, err := m.store.Revoke(ctx, key, userID)
	now := m.clock()
	if err != nil {
		m.pending.add(revocation{key: key, userID: userID, reason: reason, at: now, until: now.Add(m.policy.absolute)})
		return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	}
	m.endings.confirm(now, key.ID)
	if there {
		m.metrics.SessionsEnded(reason, 1)
	}
	return nil
}

// unended refuses a session that a new one has taken the place of and a store could not end, and tries on.
func (m *Manager) unended(key Key, userID string) {
	now := m.clock()
	m.endings.refuse(key.ID)
	m.pending.add(revocation{key: key, userID: userID, reason: endReplaced, at: now, until: now.Add(m.policy.absolute)})
}

// RevokeUser ends all sessions of a user but those in except, and makes logins of that user that
// have begun and not finished fail. It gives how many ended. With ErrUnconfirmed this replica
// refuses all it would find from now on, and it is retried as in Revoke; what has ended by then is counted and logged now,
// the others when they have.
func (m *Manager) RevokeUser(ctx context.Context, userID string, except ...ID) (int, error) {
	ids, err := m.store.RevokeUser(ctx, userID, except...)
	now := m.clock()
	if err != nil {
		// Not before asking, as Revoke does: after a success, sessions made in the same
		// millisecond would be refused for nothing.
		m.endings.refuseUser(userID, now, except)
		m.pending.add(revocation{
			userID: userID, all: true, except: slices.Clone(except), reason: endRevoked, at: now, until: now.Add(m.policy.absolute),
		})
		m.notify(m.knownOf(userID, append(slices.Clone(except), ids...)))
		m.revokedSome(ctx, userID, ids)
		return len(ids), fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	}
	if len(except) == 0 {
		// What was still to be retried is done with this; later it would hit new sessions.
		for _, r := range m.pending.dropUser(userID) {
			m.endings.confirmUser(userID, r.at)
		}
	}
	m.revokedAll(ctx, userID, ids)
	return len(ids), nil
}

// revokedSome is for sessions that have ended though the store failed then: they will not be among those the next attempt ends.
func (m *Manager) revokedSome(ctx context.Context, userID string, ids []ID) {
	if len(ids) > 0 {
		m.revokedAll(ctx, userID, ids)
	}
}

func (m *Manager) revokedAll(ctx context.Context, userID string, ids []ID) {
	m.endings.confirm(m.clock(), ids...)
	m.notify(ids)
	m.metrics.SessionsEnded(endRevoked, len(ids))
	m.audit(ctx, telemetry.Audit{Event: telemetry.EventRevoke, UserID: userID, Reason: "all", Count: len(ids)})
}

// attempt tries a pending revocation again. true: it is done with.
//
// A revocation of all sessions that is confirmed late also ends sessions of the user made since it
// was asked for. That is accepted: they would have to log in again, while the other way round
// a session that should have ended might stay. It can only happen between Redis's return and the next
// retry, a fraction of a second, and at most until the revocation's time is over.
func (m *Manager) attempt(ctx context.Context, r revocation) bool {
	if m.clock().After(r.until) {
		m.settle(r)
		return true
	}
	if r.all {
		ids, err := m.store.RevokeUser(retrying(ctx), r.userID, r.except...)
		if err != nil {
			m.revokedSome(ctx, r.userID, ids)
			return false
		}
		m.settle(r)
		m.revokedAll(ctx, r.userID, ids)
		return true
	}
	there, err := m.store.Revoke(ctx, r.key, r.userID)
	if err != nil {
		return false
	}
	m.settle(r)
	if there && r.reason != endOrphan {
		m.metrics.SessionsEnded(r.reason, 1)
	}
	return true
}

func (m *Manager) settle(r revocation) {
	if r.all {
		m.endings.confirmUser(r.userID, r.at)
		return
	}
	m.endings.confirm(m.clock(), r.key.ID)
}

// knownOf gives the user's sessions in this process's memory, for stores that have one: their
// streams end at once, also when the store cannot say which sessions there are.
func (m *Manager) knownOf(userID string, except []ID) []ID {
	store, ok := m.store.(interface{ KnownOf(userID string) []ID })
	if !ok {
		return nil
	}
	return slices.DeleteFunc(store.KnownOf(userID), func(id ID) bool { return slices.Contains(except, id) })
}

// audit writes a line with the request's id and client, if it happens within a request.
func (m *Manager) audit(ctx context.Context, a telemetry.Audit) {
	r := telemetry.RequestFrom(ctx)
	a.RequestID = r.ID
	if r.Client.IsValid() {
		a.Client = r.Client.String()
	}
	telemetry.LogAudit(&m.log, a)
}

// errPending is what Close says of revocations that nobody could confirm.
var errPending = errors.New("session: revocations that Redis has not confirmed are given up")
