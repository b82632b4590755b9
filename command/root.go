// Package command holds the subcommands, and joins the parts of the gateway in one place (wire.go).
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build: -ldflags "-X gatehouse/command.version=v1.2.3".
var version = ""

// errReported is an error whose whole text stands on the screen already.
var errReported = errors.New("reported")

// Execute runs the command line and gives the process's exit code: 0, or 1 when anything failed.
func Execute(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)

	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintln(os.Stderr, "gatehouse: "+err.Error())
	}
	return 1
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatehouse",
		Short: "Login, sessions and X-User-* headers in front of an application that already exists",
		Long: `Gatehouse stands in front of a web application, takes over login and logout, keeps
sessions in Redis, and tells the application who is calling with X-User-* headers.`,
		Example: `  gatehouse demo                                   try it, with a sample application behind it
  gatehouse serve --upstream http://127.0.0.1:3000  put it in front of your application
  gatehouse serve --config gatehouse.yaml           the same with your own rules, users and Redis`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       versionText(),
	}
	root.AddCommand(newServeCommand(), newDemoCommand(), newCheckCommand(), newExplainCommand(),
		newUsersCommand(), newSessionsCommand(), newMigrateCommand(), newSampleCommand(), newHealthcheckCommand(), newHashCommand(), newVersionCommand())
	root.SetVersionTemplate("{{.Version}}\n")
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Example = `  source <(gatehouse completion bash)
  gatehouse completion zsh > "${fpath[1]}/_gatehouse"`
		}
	}
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version and the Go it was built with",
		Example: "  gatehouse version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionText())
			return err
		},
	}
}

func versionText() string {
	v, commit := version, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				commit = ", commit " + s.Value[:12]
			}
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return fmt.Sprintf("gatehouse %s%s, %s %s/%s", v, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
