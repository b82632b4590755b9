package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatehouse/login/password"
	"gatehouse/login/users"
)

// usersFlags are the flags of the users subcommands; each registers those it has.
type usersFlags struct {
	file, email, name, role, id string
	verified, stdin, json       bool
}

func newUsersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "users",
		Short: "Add, change, remove and list the users of the file backend",
		Long: `Edits the user file of login backend "file". Comments and order in it are kept. A running gateway
reads the file again when it changes; nothing needs a restart.`,
		Example: `  gatehouse users add --file users.yaml --email jane@example.com --name "Jane Doe" --role admin
  gatehouse users list --file users.yaml`,
	}
	cmd.Args = cobra.NoArgs // or a mistyped subcommand would print the help and succeed
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newUsersAddCommand(), newUsersPasswdCommand(), newUsersRemoveCommand(), newUsersListCommand())
	return cmd
}

func (f *usersFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "file", "users.yaml", "user `file`")
}

func (f *usersFlags) registerEmail(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.email, "email", "", "`address` the user logs in with (required)")
	if err := cmd.MarkFlagRequired("email"); err != nil {
		panic(err) // the flag is the line before
	}
}

func newUsersAddCommand() *cobra.Command {
	var f usersFlags
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a user; the password is asked for without echo, or read from standard input",
		Example: `  gatehouse users add --file users.yaml --email jane@example.com --name "Jane Doe" --role admin
  gatehouse users add --email jane@example.com --id 4711      the ID your application knows her by
  pass show jane | gatehouse users add --email jane@example.com --password-stdin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			user, err := f.change(func(edit *users.Editor) (users.User, error) {
				if _, taken := edit.Users().Find(f.email); taken {
					return users.User{}, fmt.Errorf("%w: %s; change the password with: gatehouse users passwd --file %s --email %s", users.ErrExists, f.email, f.file, f.email)
				}
				hash, err := f.newHash(cmd)
				if err != nil {
					return users.User{}, err
				}
				return edit.Add(users.Entry{ID: f.id, Email: f.email, Name: f.name, Role: f.role, EmailVerified: f.verified, PasswordHash: hash})
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "added %s with id %s to %s; the application sees X-User-Id: %s\n", user.Email, user.ID, f.file, user.ID)
			return nil
		},
	}
	f.register(cmd)
	f.registerEmail(cmd)
	cmd.Flags().StringVar(&f.name, "name", "", "the user's `name`")
	cmd.Flags().StringVar(&f.role, "role", "", "the user's `role`, for rules with roles")
	cmd.Flags().StringVar(&f.id, "id", "", "the user's `ID`, as the application knows it (default: the next free number)")
	cmd.Flags().BoolVar(&f.verified, "email-verified", false, "the email address has been verified")
	f.registerStdin(cmd)
	return cmd
}

func newUsersPasswdCommand() *cobra.Command {
	var f usersFlags
	cmd := &cobra.Command{
		Use:   "passwd",
		Short: "Give a user a new password",
		Long:  "Gives a user a new password. Sessions that are open stay open.",
		Example: `  gatehouse users passwd --file users.yaml --email jane@example.com
  pass show jane | gatehouse users passwd --email jane@example.com --password-stdin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			user, err := f.change(func(edit *users.Editor) (users.User, error) {
				if _, known := edit.Users().Find(f.email); !known {
					return users.User{}, f.unknown() // before a password is asked for
				}
				hash, err := f.newHash(cmd)
				if err != nil {
					return users.User{}, err
				}
				return edit.SetPassword(f.email, hash)
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s has a new password\n", user.Email)
			return nil
		},
	}
	f.register(cmd)
	f.registerEmail(cmd)
	f.registerStdin(cmd)
	return cmd
}

func newUsersRemoveCommand() *cobra.Command {
	var f usersFlags
	cmd := &cobra.Command{
		Use:     "remove",
		Aliases: []string{"rm"},
		Short:   "Take a user out of the file",
		Long: `Takes a user out of the file, who then can no longer log in. Sessions that are open go on until they
end by themselves (session.idle, session.absolute). The ID is not given to anybody else.`,
		Example: `  gatehouse users remove --file users.yaml --email jane@example.com`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			user, err := f.change(func(edit *users.Editor) (users.User, error) { return edit.Remove(f.email) })
			if errors.Is(err, users.ErrUnknown) {
				return f.unknown()
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed %s (id %s) from %s; sessions that are open go on until they end by themselves\n", user.Email, user.ID, f.file)
			return nil
		},
	}
	f.register(cmd)
	f.registerEmail(cmd)
	return cmd
}

func newUsersListCommand() *cobra.Command {
	var f usersFlags
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the users",
		Example: `  gatehouse users list --file users.yaml
  gatehouse users list --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := os.Stat(f.file); err != nil {
				return fmt.Errorf("%w; make it with: gatehouse users add --file %s --email you@example.com", err, f.file)
			}
			edit, err := users.Edit(f.file)
			if err != nil {
				return err
			}
			if f.json {
				return listJSON(cmd.OutOrStdout(), edit.Users().All())
			}
			return listTable(cmd.OutOrStdout(), edit.Users().All())
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "as JSON, for programs")
	return cmd
}

// change opens the file, makes one change and saves it; on an error the file is as it was.
func (f *usersFlags) change(do func(*users.Editor) (users.User, error)) (users.User, error) {
	edit, err := users.Edit(f.file)
	if err != nil {
		return users.User{}, err
	}
	user, err := do(edit)
	if err != nil {
		return users.User{}, err
	}
	return user, edit.Save()
}

func (f *usersFlags) unknown() error {
	return fmt.Errorf("%w with the email %s in %s; see: gatehouse users list --file %s", users.ErrUnknown, f.email, f.file, f.file)
}

// listedUser is a user without the password's hash, which is nobody's to read.
type listedUser struct {
	ID            string `json:"id"`
	Email         string `json:"email"`
	Name          string `json:"name"`
	Role          string `json:"role"`
	EmailVerified bool   `json:"emailVerified"`
	Disabled      bool   `json:"disabled"`
	Hash          string `json:"hash"`
}

func listJSON(out io.Writer, all []users.User) error {
	list := make([]listedUser, 0, len(all))
	for _, u := range all {
		list = append(list, listedUser{ID: u.ID, Email: u.Email, Name: u.Name, Role: u.Role, EmailVerified: u.EmailVerified, Disabled: u.Disabled, Hash: u.Hash.Scheme()})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(list)
}

func listTable(out io.Writer, all []users.User) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no users")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tEMAIL\tNAME\tROLE\tVERIFIED\tSTATE\tHASH")
	for _, u := range all {
		state, verified := "active", "no"
		if u.Disabled {
			state = "disabled"
		}
		if u.EmailVerified {
			verified = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", u.ID, u.Email, u.Name, u.Role, verified, state, u.Hash.Scheme())
	}
	return table.Flush()
}

func (f *usersFlags) registerStdin(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.stdin, "password-stdin", false, "read the password from the first line of standard input")
}

// newHash asks for a password and hashes it.
func (f *usersFlags) newHash(cmd *cobra.Command) (string, error) {
	text, err := f.readPassword(cmd)
	if err != nil {
		return "", err
	}
	if err := password.Check(text); err != nil {
		return "", err
	}
	return password.New(text, password.Default()), nil
}

func (f *usersFlags) readPassword(cmd *cobra.Command) (string, error) {
	in := cmd.InOrStdin()
	if f.stdin {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password from standard input: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	terminal, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", errors.New("standard input is no terminal to ask for a password on; give it there with --password-stdin")
	}
	first, err := ask(cmd, terminal, "Password: ")
	if err != nil {
		return "", err
	}
	// Said before it is typed again.
	if err := password.Check(first); err != nil {
		return "", err
	}
	again, err := ask(cmd, terminal, "Again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return first, nil
}

// ask reads one line from the terminal without echo.
func ask(cmd *cobra.Command, terminal *os.File, prompt string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	// Ctrl-C while the line is read: nothing else ends the read, and the terminal must echo again.
	defer context.AfterFunc(cmd.Context(), func() {
		_ = term.Restore(fd, before)
		fmt.Fprintln(cmd.ErrOrStderr(), "\nnothing was changed")
		os.Exit(1)
	})()
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	line, err := term.ReadPassword(fd)
	fmt.Fprintln(cmd.ErrOrStderr())
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return string(line), nil
}
