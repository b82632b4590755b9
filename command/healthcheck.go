package command

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// newHealthcheckCommand is for containers, whose image has no curl.
func newHealthcheckCommand() *cobra.Command {
	var url string
	var insecure bool
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running gateway for its health; exit 0 when it is well, else 1",
		Example: `  gatehouse healthcheck
  gatehouse healthcheck --url http://127.0.0.1:8080/.gatehouse/readyz
  gatehouse healthcheck --url https://127.0.0.1:8443/.gatehouse/healthz --insecure`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: insecure}}} // #nosec G402 -- asks only whether this machine's own listener answers
			resp, err := client.Do(req)
			if err != nil {
				return fmt.Errorf("%w; is the gateway running, and does --url lead to it?", err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(body)))
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s answered %s", url, resp.Status)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&url, "url", "http://127.0.0.1:8080/.gatehouse/healthz", "`URL` to ask")
	cmd.Flags().BoolVar(&insecure, "insecure", false, "do not verify the certificate: for a gateway on this host, asked by an address the certificate does not name")
	return cmd
}
