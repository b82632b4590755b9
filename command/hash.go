package command

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gatehouse/login/hashing"
)

const hashName = "hash-passwords"

// newHashCommand is what the gateway starts beside itself. It ends when the gateway does, however that ends: its
// input ends then. Signals are the gateway's to answer, also those that a terminal or a service manager sends to all
// processes: logins that are under way finish.
func newHashCommand() *cobra.Command {
	return &cobra.Command{
		Use:    hashName,
		Short:  "Check passwords for the gateway that has started this, at a low priority",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			return hashing.Serve(os.Stdin, os.Stdout)
		},
	}
}

// hashCommand starts this program once more. Its environment is empty: the gateway's may hold passwords, and this needs none.
func hashCommand() *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.Command(self, hashName) // #nosec G204 G702 -- this program itself
	cmd.Env, cmd.Stderr = []string{}, os.Stderr
	return cmd
}
