package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/sample"
	"gatehouse/telemetry"
)

// newSampleCommand runs the demo's application alone, for compose.yaml and for trying a config.
func newSampleCommand() *cobra.Command {
	var listen string
	var trust bool
	cmd := &cobra.Command{
		Use:   "sample",
		Short: "Run the demo's sample application alone, to put a gateway in front of",
		Example: `  gatehouse sample --listen 127.0.0.1:3000
  gatehouse serve --upstream http://127.0.0.1:3000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := telemetry.NewLogger(os.Stderr, "info", "auto")
			if err != nil {
				return err
			}
			app, err := listenSample(listen, sample.Options{Log: log, TrustHeaders: trust})
			if err != nil {
				return err
			}
			log.Info().Str("url", app.url()).Msg("sample application listening")
			failed := make(chan error, 1)
			go func() { failed <- app.serve() }()
			select {
			case err := <-failed:
				return err
			case <-cmd.Context().Done():
				return app.Close()
			}
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:3000", "`address` to listen on")
	cmd.Flags().BoolVar(&trust, "trust-headers", true, "believe the X-User-* headers; right only when nobody reaches it but through the gateway")
	return cmd
}

// sampleServer is the sample application with a listener.
type sampleServer struct {
	http     *http.Server
	listener net.Listener
}

func listenSample(address string, opts sample.Options) (*sampleServer, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("the sample application cannot take %s: %w; choose another address with --listen", address, err)
	}
	return &sampleServer{listener: l, http: &http.Server{Handler: sample.New(opts), ReadHeaderTimeout: 10 * time.Second}}, nil
}

func (s *sampleServer) url() string { return "http://" + s.listener.Addr().String() }

func (s *sampleServer) serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close gives running requests a moment, then ends them.
func (s *sampleServer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}
