package workspace

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/database/postgres"
)

// The roles of the PostgreSQL server: the owners of the state and of the functions' database,
// to which no tenant has access, and the administrator of the tenants' databases.
const (
	stateRole     = "chandler_state"
	functionsRole = "chandler_functions"
	adminRole     = "chandler_admin"
)

// setEnvironment stores how a broker reaches the databases, the catalog and the credential
// store.
func (f *Folder) setEnvironment(postgres string, o Options) error {
	key, err := f.sealedKeyFile()
	if err != nil {
		return err
	}
	s := &f.Settings
	if s.Catalog, err = f.catalogFile(o); err != nil {
		return err
	}
	s.DatabaseURL = embedded.PostgresURL(postgres, stateRole, s.StatePassword, stateRole)
	f.functionsURL = embedded.PostgresURL(postgres, functionsRole, s.FunctionsPassword, functionsRole)
	s.Environment = map[string]string{
		"DATABASE_URL":             s.DatabaseURL,
		"CHANDLER_CATALOG":         s.Catalog,
		"CHANDLER_SEALED_KEY_FILE": key,
		"POSTGRES_ADMIN_URL":       embedded.PostgresURL(postgres, adminRole, s.AdminPassword, "postgres"),
		"CHANDLER_USERNAME":        s.Username,
		"CHANDLER_PASSWORD":        s.Password,

		"CHANDLER_OPERATOR_USERNAME": "operator",
		"CHANDLER_OPERATOR_PASSWORD": s.OperatorPassword,
	}
	return nil
}

// prepareDatabases makes the roles and their databases, as far as they do not exist.
func (f *Folder) prepareDatabases(ctx context.Context, p *embedded.Postgres) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return fmt.Errorf("reach the private PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for role, password := range map[string]string{stateRole: f.Settings.StatePassword, functionsRole: f.Settings.FunctionsPassword} {
		if err := prepareOwner(ctx, conn, role, password); err != nil {
			return fmt.Errorf("prepare the private PostgreSQL for %s: %w", role, err)
		}
	}
	if _, err := conn.Exec(ctx, postgres.AdministratorSQL(adminRole, f.Settings.AdminPassword)); err != nil {
		return fmt.Errorf("prepare the private PostgreSQL for tenants: %w", err)
	}
	return nil
}

// prepareOwner makes a role, and a database of the same name that only it can use.
func prepareOwner(ctx context.Context, conn *pgx.Conn, name, password string) error {
	var role, database bool
	err := conn.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1), exists (select from pg_database where datname = $1)`,
		name).Scan(&role, &database)
	if err != nil {
		return err
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
			return err
		}
	}
	return nil
}

// VaultHeader is the file with the HTTP header that gives access to everything in the folder's
// Vault, for curl -H @file: a token on the command line would appear in the list of processes.
const VaultHeader = "vault.header"

// startVault starts a Vault server, and gives the broker a token of its own with the policy of
// production.
func (s *Servers) startVault(ctx context.Context) error {
	_, _ = fmt.Fprintln(s.progress, "building the Vault server (some minutes the first time)")
	binary, err := embedded.BuildVault(ctx, s.progress)
	if err != nil {
		return err
	}
	f := s.folder
	if s.Vault, err = embedded.StartVault(ctx, embedded.VaultOptions{Dir: f.Path("vault"), Binary: binary}); err != nil {
		return err
	}
	f.Settings.Environment["VAULT_ADDR"] = s.Vault.Addr()
	if f.Settings.Environment["VAULT_TOKEN"], err = brokerToken(ctx, s.Vault); err != nil {
		return err
	}
	return f.writeFile(VaultHeader, []byte("X-Vault-Token: "+s.Vault.RootToken()+"\n"))
}

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
