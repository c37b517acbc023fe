package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/embedded/workspace"
)

type devOptions struct {
	workspace.Options
	listen string
	data   string
	format string
	smoke  bool
	once   bool
}

// devPatience is how long chandler dev waits for its servers before it serves without the slow
// ones.
const devPatience = 30 * time.Second

func newDev() *cobra.Command {
	var o devOptions
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
			o.Progress = cmd.ErrOrStderr()
			if !o.smoke {
				o.Patience = devPatience
			}
			return dev(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address to serve on")
	flags.StringVar(&o.data, "data", ".chandler", "folder of the servers' data; created if it does not exist")
	flags.StringVar(&o.Catalog, "catalog", "", "catalog to serve (default: catalog.yml here, or else the binary's own)")
	flags.StringSliceVar(&o.Only, "only", nil, "the types of backends to serve, such as database/postgres,queue/nats (default: all that are installed)")
	flags.StringVar(&o.format, "log-format", "text", "json, text or lager")
	flags.BoolVar(&o.Vault, "vault", false, "store the credentials in a real Vault server, built from this checkout; later starts on the folder do so, too")
	flags.BoolVar(&o.OpenStack, "openstack", false, "also start a private OpenStack cloud with Ceph, of Debian 12's packages, and serve the plans on them")
	flags.BoolVar(&o.smoke, "smoke", false, "prove every plan once it is served")
	flags.BoolVar(&o.once, "once", false, "with --smoke: end after the proof, with its status")
	return cmd
}

func dev(ctx context.Context, o devOptions, out io.Writer) (err error) {
	if o.once && !o.smoke {
		return usagef("--once needs --smoke")
	}
	if o.Only, err = workspace.Backends(o.Only); err != nil {
		return err
	}
	environment, err := environmentSettings()
	if err != nil {
		return err
	}
	folder, err := workspace.Open(o.data, false)
	if err != nil {
		return err
	}
	defer folder.Close()
	file, err := os.OpenFile(folder.Path("chandler.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	defer func() { _ = file.Close() }()
	log, err := newLogger(o.format, environment.LogLevel, file)
	if err != nil {
		return err
	}
	run := devRun{options: o, folder: folder, generated: adoptUser(&folder.Settings), log: log, out: out}
	o.Vault = o.Vault || folder.NeedsVault()
	if run.servers, err = folder.Start(ctx, o.Options); err != nil {
		return err
	}
	deadline, err := run.serveAll(ctx)
	if stopErr := run.servers.Stop(deadline); stopErr != nil {
		log.WarnContext(context.WithoutCancel(ctx), "not all servers ended by themselves", "error", stopErr.Error())
	}
	return err
}

// adoptUser uses the environment's user. Without one it returns true, because the generated
// password has to be shown.
func adoptUser(s *workspace.Settings) (generated bool) {
	user, password := os.Getenv("CHANDLER_USERNAME"), os.Getenv("CHANDLER_PASSWORD")
	if user == "" || password == "" {
		return true
	}
	s.Username, s.Password = user, password
	return false
}

// devRun is one run of a chandler dev.
type devRun struct {
	options   devOptions
	folder    *workspace.Folder
	servers   *workspace.Servers
	generated bool
	log       *slog.Logger
	out       io.Writer
	address   string // empty before it serves
}

// errArrived ends serving without the plans of a server that is up now.
var errArrived = errors.New("another server is up")

// serveAll serves the plans of all servers that are up until ctx ends, and restarts
// whenever a slow server comes up. It returns the deadline for stopping the servers.
func (r *devRun) serveAll(ctx context.Context) (deadline time.Time, err error) {
	for {
		s, err := folderSettings(r.folder)
		if err != nil {
			return time.Now().Add(workspace.StopTime), err
		}
		s.Listen = cmp.Or(r.address, r.options.listen)
		deadline, err := r.serve(ctx, s)
		var inUse server.InUseError
		switch late := r.servers.Late(); {
		case errors.Is(err, errArrived):
		case errors.As(err, &inUse) && len(late) > 0 && ctx.Err() == nil:
			// There are instances on a server that is slow to start.
			_, _ = fmt.Fprintf(r.options.Progress, "waiting for the servers of %s, which have instances: they are still starting\n", strings.Join(late, ", "))
			r.servers.Next(ctx)
		default:
			return deadline, err
		}
	}
}

// errUnproved ends a chandler dev whose smoke test failed.
var errUnproved = errors.New("not everything works; see above")

// serve serves until ctx ends, a server ends, or another server is up. It returns the deadline for
// stopping the servers, to which the time for draining counts.
func (r *devRun) serve(ctx context.Context, s settings) (deadline time.Time, err error) {
	a, err := server.Open(ctx, s.Settings, r.log, server.Needs{Migrate: true, Credentials: true})
	if err != nil {
		return time.Now().Add(workspace.StopTime), err
	}
	defer a.Close()
	bindings, err := a.Operator().Bindings(ctx, operator.Filter{})
	if err == nil {
		err = r.folder.UseCredentialStore(len(bindings))
	}
	if err != nil {
		return time.Now().Add(workspace.StopTime), err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := make(chan time.Time, 1)
	context.AfterFunc(ctx, func() { began <- time.Now() })
	r.servers.Watch(ctx, func(err error) { cancel(fmt.Errorf("a server of its own ended: %w", err)) })
	var waiting sync.WaitGroup
	defer waiting.Wait()
	waiting.Go(func() {
		if r.servers.Next(ctx) {
			cancel(errArrived)
		}
	})
	err = a.Serve(ctx, func(address net.Addr) { r.ready(ctx, s.TLSCert != "", address.String(), cancel) })
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	cancel(nil)
	return (<-began).Add(workspace.StopTime), err
}

// ready tells the user, the first time, that it serves, and begins the smoke test.
func (r *devRun) ready(ctx context.Context, tls bool, address string, cancel context.CancelCauseFunc) {
	again := r.address != ""
	if r.address = address; again {
		return
	}
	// A server that starts late changes the other settings meanwhile.
	username, password := r.folder.Settings.Username, r.folder.Settings.Password
	url, o := "http://"+address, r.options
	if tls {
		url = "https://" + address
	}
	if r.generated {
		fmt.Fprintf(o.Progress, "user: %s\npassword: %s\n", username, password)
	}
	fmt.Fprintf(o.Progress, "log: %s\n", r.folder.Path("chandler.log"))
	if r.servers.Vault != nil {
		r.explainVault()
	}
	fmt.Fprintf(r.out, "ready: %s\n", url)
	if !o.smoke {
		return
	}
	go func() {
		err := smoke(ctx, smokeOptions{url: url, username: username, password: password, output: output{format: "table"}}, r.out)
		switch {
		case err != nil && ctx.Err() == nil:
			cancel(errors.Join(errUnproved, err))
		case o.once:
			cancel(nil)
		default:
			r.explainUse(url)
		}
	}()
}

func (r *devRun) explainUse(url string) {
	fmt.Fprintf(r.out, `
Everything works. Chandler serves until interrupted (Ctrl-C). In another terminal:
  curl -u %s:%s -H 'X-Broker-API-Version: 2.17' %s/v2/catalog
  %s instances list --data %s
`, r.folder.Settings.Username, r.folder.Settings.Password, url, os.Args[0], r.folder.Dir)
}

// explainVault says how to read the broker's credentials in Vault.
func (r *devRun) explainVault() {
	fmt.Fprintf(r.options.Progress, `credentials: in Vault at %[1]s, below secret/chandler; list and read them with its root token:
  curl -s -H @%[2]s '%[1]s/v1/secret/metadata/chandler/instances?list=true'
  curl -s -H @%[2]s '%[1]s/v1/secret/data/chandler/instances/INSTANCE/bindings/BINDING/credentials'
`, r.servers.Vault.Addr(), r.folder.Path(workspace.VaultHeader))
}
