package command

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"gatehouse/session"
)

func newSessionsRevokeCommand() *cobra.Command {
	f := sessionsFlags{ends: true}
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "End one session",
		Long: `Ends one session, by its ID or its first 8 characters or more. Every gateway refuses it within milliseconds, and ends
its open streams. Whoever used it has to log in again.`,
		Example: `  gatehouse sessions revoke Xq3kfT0a --config gatehouse.yaml
  gatehouse sessions revoke Xq3kfT0a --user 42 --config gatehouse.yaml      quicker with millions of sessions`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, func(w *work) error {
				rec, err := w.Show(cmd.Context(), args[0], f.user)
				if err != nil {
					return err
				}
				w.result = func() error {
					if f.json {
						return writeJSON(cmd.OutOrStdout(), map[string]any{"id": rec.ID.String(), "userId": rec.User.ID, "ended": 1}, "  ")
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "session %s of user %s has ended\n", rec.ID, printable(rec.User.ID))
					return err
				}
				return w.Revoke(cmd.Context(), rec)
			})
		},
	}
	f.register(cmd)
	f.registerUser(cmd)
	return cmd
}

func newSessionsRevokeUserCommand() *cobra.Command {
	f := sessionsFlags{ends: true}
	var except []string
	var yes bool
	cmd := &cobra.Command{
		Use:   "revoke-user ID",
		Short: "End all sessions of a user, or all but some",
		Long: `Ends every session of a user, and refuses logins of that user that have begun and not finished. Every gateway obeys
within milliseconds. With --except, which may be repeated, those sessions stay; a whole ID whose session has ended
already spares nothing, and is no error.

It asks before more than one session ends; --yes answers that. To keep the user out for good, also take the account away where
the gateway looks it up.`,
		Example: `  gatehouse sessions revoke-user 42 --config gatehouse.yaml
  gatehouse sessions revoke-user 42 --except Xq3kfT0a --yes --config gatehouse.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.user = args[0]; f.user == "" {
				return errNoUser
			}
			return f.run(cmd, func(w *work) error { return f.revokeUser(cmd, w, except, yes) })
		},
	}
	f.register(cmd)
	cmd.Flags().StringArrayVar(&except, "except", nil, "`ID` of a session that stays, or its first 8 characters or more")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (f *sessionsFlags) revokeUser(cmd *cobra.Command, w *work, except []string, yes bool) error {
	var keep []session.ID
	for _, id := range except {
		// A beginning that is mistyped must not end the very session that was to stay. A whole ID is copied: its session
		// has ended, and the others are to end all the same.
		rec, err := w.Show(cmd.Context(), id, f.user)
		if _, whole := session.ParseID(id); whole && errors.Is(err, session.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("--except: %w; nothing was done", f.explain(err))
		}
		keep = append(keep, rec.ID)
	}
	all, err := w.List(cmd.Context(), f.user)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(rec *session.Record) bool { return slices.Contains(keep, rec.ID) })
	if len(all) > 1 && !yes {
		if !asking(cmd) {
			return fmt.Errorf("this would end %d sessions, and there is no terminal to ask on; add --yes", len(all))
		}
		ok, err := confirm(cmd, fmt.Sprintf("End %d sessions of user %s?", len(all), printable(f.user)))
		if err != nil {
			return err
		}
		if !ok {
			return errors.New("no session was ended; answer y, or add --yes")
		}
	}
	n, err := w.RevokeUser(cmd.Context(), f.user, keep...)
	late := err != nil
	w.result = func() error {
		if late {
			n = w.endedSoFar()
		}
		return f.printRevoked(cmd, n, len(keep))
	}
	return err
}

func (f *sessionsFlags) printRevoked(cmd *cobra.Command, n, keep int) error {
	if f.json {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"userId": f.user, "ended": n, "kept": keep}, "  ")
	}
	kept := ""
	if keep > 0 {
		kept = fmt.Sprintf(", %s kept", plural(keep, "session"))
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "user %s: %s ended%s\n", printable(f.user), plural(n, "session"), kept)
	return err
}
