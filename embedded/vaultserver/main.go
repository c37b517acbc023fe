// Command vaultserver is HashiCorp's Vault server for `chandler dev` and the tests: Vault's core and
// HTTP handler, with the engines that Chandler uses: KV, AppRole and Kubernetes. Its data is in a
// folder. It starts sealed, and its API initializes and unseals it as any Vault.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/vault"
)

// options are the flags. None is secret, because every user of the machine can read arguments.
type options struct {
	listen   string
	data     string
	certFile string
	keyFile  string
	logLevel string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, parseFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "vaultserver:", err)
		os.Exit(1)
	}
}

func parseFlags() options {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8200", "address to listen on; port 0 takes a free one")
	flag.StringVar(&o.data, "data", "", "folder of Vault's storage; created if it does not exist")
	flag.StringVar(&o.certFile, "tls-cert-file", "", "certificate chain in PEM; plain HTTP without it")
	flag.StringVar(&o.keyFile, "tls-key-file", "", "private key of the certificate in PEM")
	flag.StringVar(&o.logLevel, "log-level", "warn", "trace, debug, info, warn or error; the log goes to standard error")
	flag.Parse()
	return o
}

// run serves until ctx ends, and seals the core before it returns.
func run(ctx context.Context, o options) error {
	if o.data == "" {
		return errors.New("-data is missing: name the folder of Vault's storage")
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	scheme := "http"
	if o.certFile != "" {
		scheme = "https"
	}
	address := scheme + "://" + listener.Addr().String()

	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(o.logLevel), Output: os.Stderr})
	core, err := newCore(o.data, address, logger)
	if err != nil {
		return err
	}
	return errors.Join(serve(ctx, o, listener, address, core), core.Shutdown())
}

// serve answers requests until ctx ends. It prints the address, which the parent does not know if
// the port was 0.
func serve(ctx context.Context, o options, listener net.Listener, address string, core *vault.Core) error {
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core: core,
		ListenerConfig: &configutil.Listener{
			Address:            listener.Addr().String(),
			MaxRequestSize:     vaulthttp.DefaultMaxRequestSize,
			MaxRequestDuration: vault.DefaultMaxRequestDuration,
		},
	})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute}
	ended := make(chan error, 1)
	go func() {
		if o.certFile != "" {
			ended <- server.ServeTLS(listener, o.certFile, o.keyFile)
			return
		}
		ended <- server.Serve(listener)
	}()
	fmt.Println("ready: " + address)
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	graceful, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(graceful); err != nil {
		return server.Close() // so that no request leaves the storage open
	}
	return nil
}
