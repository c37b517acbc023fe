package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/database/postgres"
)

// devServers are the servers that a chandler dev started.
type devServers struct {
	postgres   *embedded.Postgres
	vault      *embedded.Vault // nil without --vault
	companions []devServer

	// Of slow companions, late are the backends, arrivals the results, and starting the
	// starts under way, which giveUp cancels.
	late     map[string]bool
	arrivals chan arrival
	starting sync.WaitGroup
	giveUp   context.CancelFunc
}

// start starts the servers on the folder's data, and stores how to reach them.
func (f *devFolder) start(ctx context.Context, o devOptions) (_ *devServers, err error) {
	s := &devServers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop(time.Now().Add(stopTime)))
		}
	}()
	if s.postgres, err = embedded.StartPostgres(ctx, embedded.PostgresOptions{Dir: f.path("postgres")}); err != nil {
		return s, err
	}
	if err = f.prepare(ctx, s.postgres); err != nil {
		return s, err
	}
	key, err := f.sealedKeyFile()
	if err != nil {
		return s, err
	}
	f.functions = roleURL(s.postgres, functionsRole, f.kept.FunctionsPassword, functionsRole)
	f.kept.DatabaseURL = roleURL(s.postgres, stateRole, f.kept.StatePassword, stateRole)
	if f.kept.Catalog, err = f.catalogFile(o.catalog); err != nil {
		return s, err
	}
	f.kept.Environment = map[string]string{
		"DATABASE_URL":             f.kept.DatabaseURL,
		"CHANDLER_CATALOG":         f.kept.Catalog,
		"CHANDLER_SEALED_KEY_FILE": key,
		"POSTGRES_ADMIN_URL":       roleURL(s.postgres, adminRole, f.kept.AdminPassword, "postgres"),
		"CHANDLER_USERNAME":        f.kept.Username,
		"CHANDLER_PASSWORD":        f.kept.Password,

		"CHANDLER_OPERATOR_USERNAME": "operator",
		"CHANDLER_OPERATOR_PASSWORD": f.kept.OperatorPassword,
	}
	if err = f.startCompanions(ctx, s, o); err != nil {
		return s, err
	}
	if o.vault {
		if s.vault, err = f.startVault(ctx, o.progress); err != nil {
			return s, err
		}
	}
	return s, f.write()
}

// stopTime limits the servers' end, before they are killed. With the broker's draining it
// stays below the 10 s that a supervisor gives; RabbitMQ needs most of it.
const stopTime = 8 * time.Second

// stop ends the servers by the deadline. The error names those that had to be killed,
// which their data survives.
func (s *devServers) stop(deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	s.endStarts()
	servers := s.all()
	errs := make([]error, len(servers))
	var stopped, users sync.WaitGroup
	for _, server := range servers {
		if usesPostgres(server) {
			users.Add(1)
		}
	}
	for i, server := range servers {
		stopped.Go(func() {
			if server == devServer(s.postgres) {
				users.Wait()
			}
			errs[i] = server.Stop(ctx)
			if usesPostgres(server) {
				users.Done()
			}
		})
	}
	stopped.Wait()
	return errors.Join(errs...)
}

// endStarts cancels the starts in progress, and adds the servers that have just started,
// so that they are stopped, too.
func (s *devServers) endStarts() {
	if s.giveUp == nil {
		return
	}
	s.giveUp()
	s.starting.Wait()
	close(s.arrivals)
	for a := range s.arrivals {
		if a.err == nil {
			s.companions = append(s.companions, a.server)
		}
	}
	s.giveUp = nil
}

// usesPostgres says whether a server has to end before its database does.
func usesPostgres(server devServer) bool {
	_, is := server.(*embedded.Functions)
	return is
}

func (s *devServers) all() []devServer {
	servers := s.companions
	if s.vault != nil {
		servers = append(servers, s.vault)
	}
	if s.postgres != nil {
		servers = append(servers, s.postgres)
	}
	return servers
}

// The roles of the one server: the owners of the state and of the functions'
// database, which no tenant may enter, and the administrator of the tenants'
// databases.
const (
	stateRole     = "chandler_state"
	functionsRole = "chandler_functions"
	adminRole     = "chandler_admin"
)

func roleURL(p *embedded.Postgres, role, password, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, password), Host: fmt.Sprintf("%s:%d", p.Host(), p.Port()),
		Path: database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// prepare makes the roles and their databases; again is harmless.
func (f *devFolder) prepare(ctx context.Context, p *embedded.Postgres) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return fmt.Errorf("reach the private PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, owner := range []struct{ role, password string }{{stateRole, f.kept.StatePassword}, {functionsRole, f.kept.FunctionsPassword}} {
		if err := prepareOwner(ctx, conn, owner.role, owner.password); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, postgres.AdministratorSQL(adminRole, f.kept.AdminPassword)); err != nil {
		return fmt.Errorf("prepare the private PostgreSQL for tenants: %w", err)
	}
	return nil
}

// prepareOwner makes a role and a database of the same name that is its own.
func prepareOwner(ctx context.Context, conn *pgx.Conn, name, password string) error {
	var role, database bool
	err := conn.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1), exists (select from pg_database where datname = $1)`,
		name).Scan(&role, &database)
	if err != nil {
		return fmt.Errorf("look at the private PostgreSQL: %w", err)
	}
	var statements []string
	if !role {
		statements = append(statements, "create role "+name+" login")
	}
	statements = append(statements, "alter role "+name+" password '"+password+"'")
	if !database {
		statements = append(statements, "create database "+name+" owner "+name)
	}
	statements = append(statements, "revoke all on database "+name+" from public")
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("prepare the private PostgreSQL for %s: %w", name, err)
		}
	}
	return nil
}

// startVault starts a Vault server and gives the broker a token of its own, with
// the policy that production is given.
func (f *devFolder) startVault(ctx context.Context, progress io.Writer) (*embedded.Vault, error) {
	_, _ = fmt.Fprintln(progress, "building the Vault server (some minutes the first time)")
	binary, err := embedded.BuildVault(ctx, progress)
	if err != nil {
		return nil, err
	}
	v, err := embedded.StartVault(ctx, embedded.VaultOptions{Dir: f.path("vault"), Binary: binary})
	if err != nil {
		return nil, err
	}
	token, err := brokerToken(ctx, v)
	if err != nil {
		return v, err
	}
	f.kept.Environment["VAULT_ADDR"], f.kept.Environment["VAULT_TOKEN"] = v.Addr(), token
	// For curl -H @file: a token on the command line shows in the list of
	// processes.
	return v, f.writeFile(vaultHeader, []byte("X-Vault-Token: "+v.RootToken()+"\n"))
}

// vaultHeader is the file of the header that opens all of the folder's Vault.
const vaultHeader = "vault.header"

func brokerToken(ctx context.Context, v *embedded.Vault) (string, error) {
	client, err := api.NewClient(&api.Config{Address: v.Addr()})
	if err != nil {
		return "", fmt.Errorf("reach the Vault server: %w", err)
	}
	client.SetToken(v.RootToken())
	if err := client.Sys().PutPolicyWithContext(ctx, "chandler", chandler.VaultPolicy()); err != nil {
		return "", fmt.Errorf("write the broker's policy to Vault: %w", err)
	}
	made, err := client.Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{
		Policies: []string{"chandler"}, Period: "1h", DisplayName: "chandler", NoParent: true,
	})
	if err != nil {
		return "", fmt.Errorf("make the broker's token in Vault: %w", err)
	}
	return made.Auth.ClientToken, nil
}
