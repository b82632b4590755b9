package command

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/config"
	"gatehouse/proxy"
)

func newExplainCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "explain METHOD PATH",
		Short: "Say which rule decides a request, who may pass, and which headers the app will see",
		Long: `Says what the gateway does with a request, by the code that does it: whether the path is
accepted at all, which rule decides, who may pass, what the others get, and which headers reach
the application. Nothing is sent anywhere. PATH may carry a query.`,
		Example: `  gatehouse explain --config gatehouse.yaml GET /admin/x
  gatehouse explain --config gatehouse.yaml GET '/public/..%2fadmin'`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			e, err := proxy.Explain(cfg, args[0], args[1])
			if err != nil {
				return err
			}
			printExplanation(cmd.OutOrStdout(), cfg, e)
			return nil
		},
	}
	flags.register(cmd)
	return cmd
}

func printExplanation(out io.Writer, cfg *config.Config, e proxy.Explanation) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("request", "%s %s", e.Method, e.Target)
	if e.Refused != 0 {
		line("answer", "%d %s, for everybody: %s", e.Refused, http.StatusText(e.Refused), e.Reason)
		line("app", "does not see it")
		return
	}
	if e.Endpoint != "" {
		line("answer", "by the gateway itself: %s", e.Endpoint)
		line("app", "does not see it")
		return
	}
	switch {
	case e.RuleName == "login":
		line("rule", "%s: the application's own login form is public, whatever the rules say", e.RuleName)
	case e.Rule < 0:
		line("rule", "none; `default: %s` decides", cfg.Default)
	default:
		line("rule", "rules[%d] (path: %s)", e.Rule, cfg.Rules[e.Rule].Path)
	}
	line("matched", "%s", e.Match)
	switch {
	case e.Access == config.Public:
		line("may pass", "everybody; a logged-in user's identity headers are sent along")
	case len(e.Roles) == 0:
		line("may pass", "every logged-in user")
	default:
		line("may pass", "logged-in users whose role is %s; others get 403", strings.Join(e.Roles, " or "))
	}
	if e.Access == config.Protected {
		line("others get", "%s", e.Unauthenticated)
	}
	line("limits", "%s", explainLimits(e))
	line("app", "%s %s at %s", e.Method, e.Target, e.Upstream)
	line("headers", "deleted from the client's request, however spelled: %s", strings.Join(e.Identity, ", "))
	line("", "deleted as well: X-Forwarded-*, Forwarded, X-Real-Ip and the like; the gateway's own cookie is cut out")
	secret := ""
	if cfg.IdentitySecretHeader.Enabled() {
		secret = cfg.IdentitySecretHeader.Name + ", "
	}
	line("", "set: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Request-Id, %sand for a logged-in user, for example:", secret)
	for _, h := range e.Headers {
		line("", "  %s: %s", h.Name, h.Value)
	}
	what := "answer"
	for _, h := range e.Added {
		line(what, "gets, unless the application sets it: %s: %s", h.Name, h.Value)
		what = ""
	}
}

// explainLimits tells how large and how often requests may be.
func explainLimits(e proxy.Explanation) string {
	all := []string{"body of any size"}
	if e.MaxBody > 0 {
		all[0] = "body up to " + e.MaxBody.String()
	}
	limits := e.RequestLimits
	for _, one := range []struct {
		rate config.Rate
		who  string
	}{{limits.PerUser, "for each user"}, {limits.PerAddress, "from each address"}} {
		if one.rate != (config.Rate{}) {
			all = append(all, fmt.Sprintf("%s %s, %d at once", one.rate, one.who, limits.BurstOf(one.rate)))
		}
	}
	return strings.Join(all, "; ")
}
