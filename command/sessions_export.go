package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"gatehouse/session"
)

func newSessionsExportCommand() *cobra.Command {
	var f sessionsFlags
	var output string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write every session as a line of JSON",
		Long: `Writes every session in Redis as one JSON object a line, in no order, to standard output or to a file that does not
exist yet. Nobody can log in with what is written: no token, no sealed secrets. But it holds who is
logged in, where from and with what device: keep it as you keep personal data.`,
		Example: `  gatehouse sessions export --config gatehouse.yaml | jq -r .userId | sort | uniq -c
  gatehouse sessions export --output sessions.jsonl --config gatehouse.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(w *work) error { return f.export(cmd, w, output) })
		},
	}
	f.register(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write to; it must not exist yet")
	return cmd
}

func (f *sessionsFlags) export(cmd *cobra.Command, w *work, output string) error {
	to, report := cmd.OutOrStdout(), cmd.ErrOrStderr()
	keep := func(error) error { return nil }
	if output != "" {
		file, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("--output: %w; name a file that does not exist yet", err)
		}
		to, report, keep = file, cmd.OutOrStdout(), func(err error) error { return finishFile(file, err) }
	}
	sessions, corrupt, err := f.exportTo(cmd, w, to)
	if err := errors.Join(err, keep(err)); err != nil {
		return err
	}
	if f.json && output != "" {
		return writeJSON(report, map[string]any{"sessions": sessions, "corrupt": corrupt, "output": output, "covers": w.covers()}, "  ")
	}
	where := ""
	if output != "" {
		where = " to " + printable(output)
	}
	fmt.Fprintf(report, "%s written%s (%s)\n", plural(sessions, "session"), where, w.covers())
	if corrupt > 0 {
		fmt.Fprintf(report, "%s left out that cannot be read; see gatehouse sessions audit\n", plural(corrupt, "record"))
	}
	return nil
}

func (f *sessionsFlags) exportTo(cmd *cobra.Command, w *work, to io.Writer) (sessions, corrupt int, err error) {
	out := bufio.NewWriter(to)
	progress, finish := scanBar(cmd, "exporting")
	err = w.Each(cmd.Context(), progress, func(rec *session.Record, err error) error {
		if err != nil {
			corrupt++
			return nil
		}
		sessions++
		return writeJSON(out, rec.View(), "")
	})
	finish()
	return sessions, corrupt, errors.Join(err, out.Flush())
}

// finishFile makes sure of a file, or takes it away when it is not complete: half of the sessions must not be taken for
// all of them.
func finishFile(file *os.File, err error) error {
	if err == nil {
		err = errors.Join(file.Sync(), file.Close())
		if err == nil {
			return nil
		}
		return errors.Join(err, os.Remove(file.Name()))
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}
