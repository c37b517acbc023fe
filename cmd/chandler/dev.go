package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/server"
)

type devOptions struct {
	listen   string
	data     string
	catalog  string
	only     []string // types of backends; empty: all that are installed
	format   string
	vault    bool
	smoke    bool
	once     bool
	progress io.Writer
	// companions are the servers that there may be, and patience is how long to wait
	// for them; 0: until each is up or has failed.
	companions []companion
	patience   time.Duration
}

func newDev() *cobra.Command {
	o := devOptions{companions: companions()}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Serve everything on this machine, with private servers in a folder",
		Long: `Dev starts a private PostgreSQL for the state and the tenants' databases, and a private
server for each other backend, and serves the catalog. It leaves out servers that are not
installed, with their plans, and prints how to install them. It serves the plans of a slow
server once the server is up; with --smoke it waits for all servers. --only starts just the
named ones, which is faster. Credentials are sealed in the state database, or stored in
Vault if VAULT_ADDR is set. The platform's user is CHANDLER_USERNAME and CHANDLER_PASSWORD,
or else "chandler" with a generated password.

Dev prints "ready: http://ADDRESS" when it serves, and logs to chandler.log in the folder.
Within 10 s of SIGTERM it stops all that it started, and ends. A second start on the same
folder continues with the same instances, even after a crash.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.progress = cmd.ErrOrStderr()
			if !o.smoke {
				o.patience = companionPatience
			}
			return dev(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address to serve on")
	flags.StringVar(&o.data, "data", ".chandler", "folder of the servers' data; created if it does not exist")
	flags.StringVar(&o.catalog, "catalog", "", "catalog to serve (default: catalog.yml here, or else the binary's own)")
	flags.StringSliceVar(&o.only, "only", nil, "the types of backends to serve, such as database/postgres,queue/nats (default: all that are installed)")
	flags.StringVar(&o.format, "log-format", "text", "json, text or lager")
	flags.BoolVar(&o.vault, "vault", false, "store the credentials in a real Vault server, built from this checkout; later starts on the folder do so, too")
	flags.BoolVar(&o.smoke, "smoke", false, "prove every plan once it is served")
	flags.BoolVar(&o.once, "once", false, "with --smoke: end after the proof, with its status")
	return cmd
}

func dev(ctx context.Context, o devOptions, out io.Writer) error {
	if o.once && !o.smoke {
		return usagef("--once needs --smoke")
	}
	o.only = currentBackends(o.only)
	if err := checkOnly(o.only); err != nil {
		return err
	}
	environment, err := environmentSettings()
	if err != nil {
		return err
	}
	folder, err := openDevFolder(o.data, false)
	if err != nil {
		return err
	}
	defer folder.close()
	file, err := os.OpenFile(folder.path("chandler.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	defer func() { _ = file.Close() }()
	log, err := newLogger(o.format, environment.LogLevel, file)
	if err != nil {
		return err
	}
	generated := folder.adoptUser()
	if folder.kept.CredentialStore == privateVault && os.Getenv("VAULT_ADDR") == "" {
		o.vault = true
	}
	servers, err := folder.start(ctx, o)
	if err != nil {
		return err
	}
	run := devRun{folder: folder, servers: servers, generated: generated, log: log, out: out}
	deadline, err := run.serveAll(ctx, o)
	if stopErr := servers.stop(deadline); stopErr != nil {
		log.WarnContext(context.WithoutCancel(ctx), "not all servers ended by themselves", "error", stopErr.Error())
	}
	return err
}

// errArrived ends serving without the plans of a server that is up now.
var errArrived = errors.New("another server is up")

// serveAll serves the plans of all servers that are up until ctx ends, and restarts
// whenever a slow server comes up. It returns the deadline for stopping the servers.
func (r *devRun) serveAll(ctx context.Context, o devOptions) (deadline time.Time, err error) {
	for {
		s, err := r.folder.settings()
		if err != nil {
			return time.Now().Add(stopTime), err
		}
		s.Listen, r.tls = o.listen, s.TLSCert != ""
		deadline, err := r.serve(ctx, o, s)
		var inUse server.InUseError
		switch {
		case errors.Is(err, errArrived):
			r.takeIn(ctx, r.arrived, o)
		case errors.As(err, &inUse) && len(r.servers.late) > 0 && ctx.Err() == nil:
			// There are instances on a server that is slow to start.
			_, _ = fmt.Fprintf(o.progress, "waiting for the servers of %s, which have instances: they are still starting\n", strings.Join(slices.Sorted(maps.Keys(r.servers.late)), ", "))
			if a, ok := r.next(ctx, o); ok {
				r.takeIn(ctx, a, o)
			}
		default:
			return deadline, err
		}
		o.listen = cmp.Or(r.address, o.listen)
	}
}

// next waits for a server that was slow; false where ctx ends, or none is left.
func (r *devRun) next(ctx context.Context, o devOptions) (arrival, bool) {
	for len(r.servers.late) > 0 {
		select {
		case a := <-r.servers.arrivals:
			if a.err == nil {
				return a, true
			}
			r.folder.arrived(r.servers, a, o.progress)
		case <-ctx.Done():
			return arrival{}, false
		}
	}
	return arrival{}, false
}

// takeIn adds the plans of a server that came up to the next start.
func (r *devRun) takeIn(ctx context.Context, a arrival, o devOptions) {
	r.folder.arrived(r.servers, a, o.progress)
	if err := r.folder.write(); err != nil {
		r.log.ErrorContext(ctx, "settings not written", "error", err.Error())
	}
	_, _ = fmt.Fprintf(o.progress, "up: %s: its plans are served now\n", a.backend)
}

// adoptUser takes the environment's user, and says whether there is none, so
// that the password has to be shown.
func (f *devFolder) adoptUser() (generated bool) {
	user, password := os.Getenv("CHANDLER_USERNAME"), os.Getenv("CHANDLER_PASSWORD")
	if user != "" && password != "" {
		f.kept.Username, f.kept.Password = user, password
		return false
	}
	return true
}

// errUnproved ends a chandler dev --smoke --once that did not prove everything.
var errUnproved = errors.New("not everything works; see above")

// serve serves until ctx ends or a server does, and returns by when the servers
// have to end: what draining took counts.
func (r *devRun) serve(ctx context.Context, o devOptions, s settings) (deadline time.Time, err error) {
	a, err := server.Open(ctx, s.Settings, r.log, server.Needs{Migrate: true, Credentials: true})
	if err != nil {
		return time.Now().Add(stopTime), err
	}
	defer a.Close()
	if err := r.folder.keepCredentials(ctx, a); err != nil {
		return time.Now().Add(stopTime), err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := make(chan time.Time, 1)
	context.AfterFunc(ctx, func() { began <- time.Now() })
	r.watch(ctx, cancel)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	waiting.Go(func() {
		var ok bool
		if r.arrived, ok = r.next(ctx, o); ok {
			cancel(errArrived)
		}
	})
	err = a.Serve(ctx, func(address net.Addr) { r.ready(ctx, o, address, cancel) })
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	cancel(nil)
	return (<-began).Add(stopTime), err
}

// checkBindings is checkCredentialStore with the bindings of the state.
func (f *devFolder) checkBindings(ctx context.Context, opened *server.Server) error {
	bindings, err := opened.Operator().Bindings(ctx, operator.Filter{})
	if err != nil {
		return err
	}
	return f.checkCredentialStore(len(bindings))
}

// keepCredentials remembers where this start keeps credentials.
func (f *devFolder) keepCredentials(ctx context.Context, opened *server.Server) error {
	if err := f.checkBindings(ctx, opened); err != nil {
		return err
	}
	f.kept.CredentialStore = f.credentialStore()
	return f.write()
}

// devRun is one run of a chandler dev.
type devRun struct {
	folder    *devFolder
	servers   *devServers
	generated bool
	tls       bool
	log       *slog.Logger
	out       io.Writer
	// address is where it serves, once it does.
	address string
	// arrived is the server whose arrival ended the last serving.
	arrived arrival
}

// ready tells that it serves, and begins the smoke test.
func (r *devRun) ready(ctx context.Context, o devOptions, address net.Addr, cancel context.CancelCauseFunc) {
	again := r.address != ""
	r.address = address.String()
	if again {
		return // its user knows all this
	}
	url := "http://" + address.String()
	if r.tls {
		url = "https://" + address.String()
	}
	if r.generated {
		fmt.Fprintf(o.progress, "user: %s\npassword: %s\n", r.folder.kept.Username, r.folder.kept.Password)
	}
	fmt.Fprintf(o.progress, "log: %s\n", r.folder.path("chandler.log"))
	if r.servers.vault != nil {
		r.tellVault(o.progress)
	}
	fmt.Fprintf(r.out, "ready: %s\n", url)
	if !o.smoke {
		return
	}
	go func() {
		err := smoke(ctx, smokeOptions{url: url, username: r.folder.kept.Username, password: r.folder.kept.Password, output: "table"}, r.out)
		switch {
		case err != nil && ctx.Err() == nil:
			cancel(errors.Join(errUnproved, err))
		case o.once:
			cancel(nil)
		default:
			r.tellHow(url)
		}
	}()
}

// watch ends the broker when one of its servers ended.
func (r *devRun) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for _, server := range r.servers.all() {
		process, ok := server.(interface{ Done() <-chan error })
		if !ok {
			continue
		}
		go func() {
			select {
			case <-ctx.Done():
			case err := <-process.Done():
				cancel(fmt.Errorf("a server of its own ended: %w", err))
			}
		}()
	}
}

func (r *devRun) tellHow(url string) {
	fmt.Fprintf(r.out, `
Everything works. Chandler serves until interrupted (Ctrl-C). In another terminal:
  curl -u %s:%s -H 'X-Broker-API-Version: 2.17' %s/v2/catalog
  %s instances list --data %s
`, r.folder.kept.Username, r.folder.kept.Password, url, os.Args[0], r.folder.dir)
}

// tellVault says how to read in Vault what the broker keeps there.
func (r *devRun) tellVault(w io.Writer) {
	fmt.Fprintf(w, `credentials: in Vault at %[1]s, below secret/chandler; list and read them with its root token:
  curl -s -H @%[2]s '%[1]s/v1/secret/metadata/chandler/instances?list=true'
  curl -s -H @%[2]s '%[1]s/v1/secret/data/chandler/instances/INSTANCE/bindings/BINDING/credentials'
`, r.servers.vault.Addr(), r.folder.path(vaultHeader))
}
