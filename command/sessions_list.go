package command

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gatehouse/session"
)

func newSessionsListCommand() *cobra.Command {
	var f sessionsFlags
	cmd := &cobra.Command{
		Use:     "list --user ID",
		Aliases: []string{"ls"},
		Short:   "List a user's sessions, oldest first",
		Long: `Lists the live sessions of a user, oldest first. While sessions move to Redis, those of the application's own table
are among them.`,
		Example: `  gatehouse sessions list --user 42 --config gatehouse.yaml
  gatehouse sessions list --user 42 --json --config gatehouse.yaml | jq -r '.[].id'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.user == "" {
				return errNoUser
			}
			return f.run(cmd, func(w *work) error {
				all, err := w.List(cmd.Context(), f.user)
				if err != nil {
					return err
				}
				if f.json {
					return writeJSON(cmd.OutOrStdout(), views(all), "  ")
				}
				return printSessions(cmd.OutOrStdout(), views(all), f.user)
			})
		},
	}
	f.register(cmd)
	f.registerUser(cmd)
	required(cmd, "user")
	return cmd
}

func required(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagRequired(flag); err != nil {
		panic(err) // the flag has just been registered
	}
}

func printSessions(out io.Writer, all []session.View, user string) error {
	if len(all) == 0 {
		_, err := fmt.Fprintf(out, "user %s has no session\n", printable(user))
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SESSION\tLOGGED IN\tLAST SEEN\tENDS AT LATEST\tADDRESS\tROLE\tSTORE\tDEVICE")
	for _, v := range all {
		// Twelve characters are short enough to read and, even among millions, name one session.
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.ID[:12], stamp(v.CreatedAt), stamp(v.LastAccessed), stamp(v.ExpiresAt),
			cell(v.IP, 45), cell(v.Role, 20), v.Store, cell(v.UserAgent, 60))
	}
	return table.Flush()
}

func newSessionsShowCommand() *cobra.Command {
	var f sessionsFlags
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one session",
		Long: `Shows one session, by its ID or its first 8 characters or more. Without --user all sessions are looked through, by the
names of their keys, which takes seconds where there are millions.`,
		Example: `  gatehouse sessions show Xq3kfT0a --config gatehouse.yaml
  gatehouse sessions show Xq3kfT0a --user 42 --json --config gatehouse.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, func(w *work) error {
				rec, err := w.Show(cmd.Context(), args[0], f.user)
				if err != nil {
					return err
				}
				if f.json {
					return writeJSON(cmd.OutOrStdout(), rec.View(), "  ")
				}
				return printSession(cmd.OutOrStdout(), rec.View())
			})
		},
	}
	f.register(cmd)
	f.registerUser(cmd)
	return cmd
}

func printSession(out io.Writer, v session.View) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, printable(value))
		}
	}
	verified := ""
	if v.Email != "" {
		if verified = " (not verified)"; v.EmailVerified {
			verified = " (verified)"
		}
	}
	store := string(v.Store)
	switch v.Database {
	case session.DatabaseMoved:
		store += ", moved from the application's table"
	case session.DatabaseCopy:
		store += ", a copy that counts only with its row"
	}
	line("session", v.ID)
	line("user", v.UserID)
	line("email", v.Email+verified)
	line("name", v.Name)
	line("role", v.Role)
	line("logged in", stamp(v.CreatedAt))
	line("last seen", stamp(v.LastAccessed))
	line("ends at latest", stamp(v.ExpiresAt))
	line("backend", v.Backend)
	line("address", v.IP)
	line("device", v.UserAgent)
	line("store", store)
	return table.Flush()
}
