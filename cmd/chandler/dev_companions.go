package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/database/mysql"
)

// devServer is a server that runs until it is stopped. One that runs as a process
// of its own also has Done, which receives an error when it ends by itself.
type devServer interface {
	Stop(ctx context.Context) error
}

// companion is a server that chandler dev starts for one type of backend.
type companion struct {
	// backend is the type of backend in the catalog that needs it.
	backend string
	// start starts the server on its own folder and returns the variables of
	// the environment by which the catalog finds it. Its error says what to
	// install. What takes minutes tells
	// progress.
	start func(ctx context.Context, f *devFolder, _ io.Writer) (devServer, map[string]string, error)
}

func companions() []companion {
	return []companion{
		{"database/mysql", startMariaDB},
		{"queue/nats", startNATS},
		{"queue/rabbitmq", startRabbitMQ},
		{"dns/powerdns", startPowerDNS},
		{"filesystem/s3", startVersityGW},
		{"filesystem/smb", startSamba},
		{"function/wasm", startFunctions},
	}
}

// stateBackend is the backend whose server holds the state, too: it always runs.
const stateBackend = "database/postgres"

// checkOnly refuses the name of a backend for which nothing could be started.
func checkOnly(only []string) error {
	known := []string{stateBackend}
	for _, c := range companions() {
		known = append(known, c.backend)
	}
	for _, name := range only {
		if !slices.Contains(known, name) {
			return usagef("--only %q: unknown type of backend; choose one or more of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// arrival is the result of starting a companion.
type arrival struct {
	backend     string
	server      devServer
	environment map[string]string
	err         error
}

const (
	// companionPatience is how long chandler dev waits for its servers before it
	// serves without those that are slow.
	companionPatience = 30 * time.Second
	// companionPause is the time between two attempts to start one.
	companionPause = 5 * time.Second
)

// startCompanions starts those in o.only, or all, in parallel, and waits for them.
// What is not installed is left out of the catalog and reported in a line. With
// o.patience, servers that are not up by then continue to start and arrive later.
func (f *devFolder) startCompanions(ctx context.Context, s *devServers, o devOptions) error {
	f.kept.Only, f.kept.Without = o.only, nil
	var wanted []companion
	for _, c := range append(slices.Clone(o.companions), companion{backend: stateBackend}) {
		switch {
		case len(o.only) > 0 && !slices.Contains(o.only, c.backend):
			f.kept.Without = append(f.kept.Without, c.backend)
		case c.backend != stateBackend: // which runs already
			wanted = append(wanted, c)
		}
	}
	s.arrivals, s.late = make(chan arrival, len(wanted)), map[string]bool{}
	starting, giveUp := context.WithCancel(ctx)
	s.giveUp = giveUp
	for _, c := range wanted {
		s.late[c.backend] = true
		f.kept.Without = append(f.kept.Without, c.backend)
		s.starting.Go(func() { s.arrivals <- c.try(starting, f, o) })
	}
	var patience <-chan time.Time
	if o.patience > 0 {
		patience = time.After(o.patience)
	}
	for len(s.late) > 0 {
		select {
		case a := <-s.arrivals:
			f.arrived(s, a, o.progress)
		case <-patience:
			for _, backend := range slices.Sorted(maps.Keys(s.late)) {
				_, _ = fmt.Fprintf(o.progress, "later: %s: its server is still starting; its plans are served once it is up\n", backend)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// try starts a companion. With o.patience it tries again until it is up or ctx ends.
func (c companion) try(ctx context.Context, f *devFolder, o devOptions) arrival {
	for first := true; ; first = false {
		server, environment, err := c.start(ctx, f, o.progress)
		if err == nil || o.patience == 0 || embedded.NotInstalled(err) || ctx.Err() != nil {
			return arrival{c.backend, server, environment, err}
		}
		if first {
			_, _ = fmt.Fprintf(o.progress, "not up: %s: %s; trying again\n", c.backend, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(companionPause):
		}
	}
}

// arrived adds a companion's backend, or reports why it is left out.
func (f *devFolder) arrived(s *devServers, a arrival, progress io.Writer) {
	delete(s.late, a.backend)
	if a.err != nil {
		_, _ = fmt.Fprintf(progress, "left out: %s: %s\n", a.backend, a.err)
		return
	}
	s.companions = append(s.companions, a.server)
	maps.Copy(f.kept.Environment, a.environment)
	f.kept.Without = slices.DeleteFunc(f.kept.Without, func(backend string) bool { return backend == a.backend })
}

func startNATS(ctx context.Context, f *devFolder, _ io.Writer) (devServer, map[string]string, error) {
	n, err := embedded.StartNATS(ctx, embedded.NATSOptions{Dir: f.path("nats")})
	if err != nil {
		return nil, nil, err
	}
	return n, map[string]string{
		"NATS_URL": n.URL(), "NATS_OPERATOR_SEED_FILE": n.OperatorSeedFile(), "NATS_SYSTEM_CREDS_FILE": n.SystemCredsFile(),
	}, nil
}

func startPowerDNS(ctx context.Context, f *devFolder, _ io.Writer) (devServer, map[string]string, error) {
	p, err := embedded.StartPowerDNS(ctx, embedded.PowerDNSOptions{Dir: f.path("powerdns")})
	if err != nil {
		return nil, nil, err
	}
	return p, map[string]string{
		"POWERDNS_API_URL": p.APIURL(), "POWERDNS_API_KEY": p.APIKey(), "POWERDNS_HOST": p.Host(), "POWERDNS_PORT": strconv.Itoa(p.Port()),
	}, nil
}

func startRabbitMQ(ctx context.Context, f *devFolder, _ io.Writer) (devServer, map[string]string, error) {
	r, err := embedded.StartRabbitMQ(ctx, embedded.RabbitMQOptions{Dir: f.path("rabbitmq")})
	if err != nil {
		return nil, nil, err
	}
	return r, map[string]string{"RABBITMQ_ADMIN_URL": r.URL(), "RABBITMQ_HOST": r.Host(), "RABBITMQ_PORT": strconv.Itoa(r.Port())}, nil
}

func startVersityGW(ctx context.Context, f *devFolder, progress io.Writer) (devServer, map[string]string, error) {
	binary, err := embedded.BuildVersityGW(ctx, progress)
	if err != nil {
		return nil, nil, err
	}
	g, err := embedded.StartVersityGW(ctx, embedded.VersityGWOptions{Binary: binary, Dir: f.path("s3")})
	if err != nil {
		return nil, nil, err
	}
	return g, map[string]string{
		"S3_ENDPOINT": g.Endpoint(), "S3_ACCESS_KEY_ID": g.AccessKeyID(), "S3_SECRET_ACCESS_KEY": g.SecretAccessKey(),
		"S3_SHARED_FOLDER": g.BucketsFolder(),
	}, nil
}

func startSamba(ctx context.Context, f *devFolder, _ io.Writer) (devServer, map[string]string, error) {
	s, err := embedded.StartSamba(ctx, embedded.SambaOptions{Dir: f.path("samba")})
	if err != nil {
		return nil, nil, err
	}
	return s, map[string]string{
		"SMB_ADDRESS": s.Address(), "SMB_FOLDER": s.SharesFolder(), "SMB_ACCOUNTS": s.AccountsFolder(),
		"SMB_CONFIG_FILE": s.ConfigFile(), "SMB_PROGRAMS": s.ProgramsFolder(),
	}, nil
}

// startFunctions runs this program a second time, as the functions' runtime.
func startFunctions(ctx context.Context, f *devFolder, _ io.Writer) (devServer, map[string]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find this program: %w", err)
	}
	r, err := embedded.StartFunctions(ctx, embedded.FunctionsOptions{
		Program: program, Dir: f.path("functions"), DatabaseURL: f.functions,
		Env: []string{"FUNCTIONS_MESSAGE_SERVERS=*"}, // tenants are who runs it
	})
	if err != nil {
		return nil, nil, err
	}
	return r, map[string]string{"FUNCTIONS_API_HOST": r.URL()}, nil
}

// mysqlAdministrator is the account that the broker uses; the database of the
// same name holds its procedures.
const mysqlAdministrator = "chandler"

func startMariaDB(ctx context.Context, f *devFolder, _ io.Writer) (devServer, map[string]string, error) {
	m, err := embedded.StartMariaDB(ctx, embedded.MariaDBOptions{Dir: f.path("mariadb")})
	if err != nil {
		return nil, nil, err
	}
	if err := f.prepareMariaDB(ctx, m); err != nil {
		return nil, nil, errors.Join(err, m.Stop(ctx))
	}
	u := url.URL{
		Scheme: "mysql", User: url.UserPassword(mysqlAdministrator, f.kept.AdminPassword),
		Host: net.JoinHostPort(m.Host(), strconv.Itoa(m.Port())), Path: mysqlAdministrator,
	}
	return m, map[string]string{"MYSQL_ADMIN_URL": u.String()}, nil
}

// prepareMariaDB makes the administrator's account; again is harmless.
func (f *devFolder) prepareMariaDB(ctx context.Context, m *embedded.MariaDB) error {
	u, err := url.Parse(m.URL(""))
	if err != nil {
		return err
	}
	config := driver.NewConfig()
	config.Net, config.Addr, config.MultiStatements = "tcp", u.Host, true
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	connector, err := driver.NewConnector(config)
	if err != nil {
		return fmt.Errorf("reach the private MariaDB: %w", err)
	}
	root := sql.OpenDB(connector)
	defer func() { _ = root.Close() }()
	_, err = root.ExecContext(ctx, mysql.AdministratorSQL(mysqlAdministrator, f.kept.AdminPassword, mysqlAdministrator, "c"))
	if err != nil {
		return fmt.Errorf("prepare the private MariaDB for tenants: %w", err)
	}
	return nil
}
