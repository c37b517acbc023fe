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
	"sync"

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
			return usagef("--only %q: there is no such type of backend here; it is one or more of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// startCompanions starts those in only, or all, side by side. What does not start
// is left out of the catalog, and said in a line: mostly it is not installed.
func (f *devFolder) startCompanions(ctx context.Context, s *devServers, only []string, progress io.Writer) error {
	f.kept.Only, f.kept.Without = only, nil
	var wanted []companion
	for _, c := range append(companions(), companion{backend: stateBackend}) {
		switch {
		case len(only) > 0 && !slices.Contains(only, c.backend):
			f.kept.Without = append(f.kept.Without, c.backend)
		case c.backend != stateBackend: // which runs already
			wanted = append(wanted, c)
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, c := range wanted {
		all.Go(func() {
			server, environment, err := c.start(ctx, f, progress)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				f.kept.Without = append(f.kept.Without, c.backend)
				_, _ = fmt.Fprintf(progress, "left out: %s: %s\n", c.backend, err)
				return
			}
			s.companions = append(s.companions, server)
			maps.Copy(f.kept.Environment, environment)
		})
	}
	all.Wait()
	slices.Sort(f.kept.Without)
	return ctx.Err()
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
