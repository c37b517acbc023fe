// Package schemas gives each instance a schema in one PostgreSQL database.
package schemas

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/lib/pq"

	"github.com/chandler-broker/chandler/services"
)

// Config is the backend's configuration in catalog.yml.
type Config struct {
	// URL is the administrator's: postgres://user:password@host:port/database.
	// A Secret redacts itself however it is printed.
	URL services.Secret `json:"url"`
	// Address is the host:port for applications. Default: that of URL.
	Address string `json:"address"`
}

// Validate reports all errors, each with its key, and quotes no secret.
func (c *Config) Validate() error {
	if u, err := url.Parse(c.URL.Reveal()); err != nil || u.Scheme != "postgres" || u.Host == "" {
		return errors.New("url: must be postgres://user:password@host:port/database")
	}
	return nil
}

// Plan is a plan's configuration in catalog.yml.
type Plan struct {
	// Connections is the maximum number of sessions of a binding.
	Connections int `json:"connections"`
}

// SetDefaults sets the defaults of optional keys.
func (p *Plan) SetDefaults() { p.Connections = 10 }

// Validate reports all errors, each with its key.
func (p *Plan) Validate() error {
	if p.Connections < 1 || p.Connections > 1000 {
		return errors.New("connections: must be from 1 to 1000")
	}
	return nil
}

type (
	// Params are the users' parameters of an instance: none.
	Params struct{}
	// BindParams are the users' parameters of a binding: none.
	BindParams struct{}
)

type (
	instance = services.Instance[Plan, Params]
	binding  = services.Binding[BindParams]
)

var (
	//go:embed catalog.yml
	catalogYAML []byte
	//go:embed schema.json
	nothing []byte
)

// Definition returns the backend for the list in services/all.
func Definition() services.Definition {
	return services.Define("database/schemas",
		services.Schemas{InstanceCreate: nothing, BindingCreate: nothing}, // an update can only change the plan
		services.Client{Catalog: catalogYAML, CredentialType: "postgresql", Dial: dial},
		open)
}

type backend struct {
	db    *sql.DB
	admin *url.URL // with the administrator's password
	url   *url.URL // for applications, without a user
}

// open makes no outside call, so that the broker can start while the server is unavailable. It
// returns the type itself, by whose methods Define knows what the backend can do.
func open(_ context.Context, c Config) (*backend, error) {
	connector, err := pq.NewConnector(c.URL.Reveal())
	if err != nil {
		return nil, errors.New("url: PostgreSQL's client does not accept it") // err would quote it
	}
	u, err := url.Parse(c.URL.Reveal())
	if err != nil {
		return nil, errors.New("url: is invalid")
	}
	admin := *u
	u.User = nil
	if c.Address != "" {
		u.Host = c.Address
	}
	return &backend{db: sql.OpenDB(connector), admin: &admin, url: u}, nil
}

// Close is optional.
func (b *backend) Close() error { return b.db.Close() }

// Ready is optional: /readyz and chandler_ready report it.
func (b *backend) Ready(ctx context.Context) error { return b.db.PingContext(ctx) }

func owner(inst instance) string { return "s_" + inst.Name } // the schema's name, too
func login(b binding) string     { return "b_" + b.Name }

// run executes statements as one transaction. A lock lets only one transaction of an
// instance run at a time.
func (b *backend) run(ctx context.Context, inst instance, statements ...string) error {
	lock := fmt.Sprintf("SELECT pg_advisory_xact_lock(hashtext(%s))", pq.QuoteLiteral(owner(inst)))
	_, err := b.db.ExecContext(ctx, strings.Join(append([]string{lock}, statements...), ";\n"))
	return err
}

// makeRole creates a role if it does not exist; PostgreSQL has no IF NOT EXISTS for roles.
func makeRole(name string) string {
	return fmt.Sprintf("DO $$ BEGIN CREATE ROLE %s; EXCEPTION WHEN duplicate_object THEN NULL; END $$", pq.QuoteIdentifier(name))
}

func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, Params]) (services.ProvisionResult, error) {
	return services.ProvisionResult{}, b.run(ctx, r.Instance,
		makeRole(owner(r.Instance)),
		fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %[1]s AUTHORIZATION %[1]s", pq.QuoteIdentifier(owner(r.Instance))))
}

// Update changes r.Previous into r.Instance. To undo a failed update, the engine calls it
// with the two exchanged.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, Params]) (services.UpdateResult, error) {
	logins, err := b.logins(ctx, r.Instance)
	if err != nil {
		return services.UpdateResult{}, err
	}
	var statements []string
	for _, name := range logins {
		statements = append(statements, fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", pq.QuoteIdentifier(name), r.Instance.Plan.Connections))
	}
	return services.UpdateResult{}, b.run(ctx, r.Instance, statements...)
}

// logins returns the roles of the instance's bindings, and that of a copy. A backend stores no
// list, so it asks the server.
func (b *backend) logins(ctx context.Context, inst instance) ([]string, error) {
	var names pq.StringArray
	err := b.db.QueryRowContext(ctx, `SELECT coalesce(array_agg(m.rolname::text), '{}') FROM pg_auth_members a
		JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
		WHERE g.rolname = $1 AND m.rolname ~ '^[bc]_'`, owner(inst)).Scan(&names)
	return names, err
}

func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, Params, BindParams]) (services.BindResult, error) {
	inst, bd := r.Instance, r.Binding
	password := bd.Seed.Password("login").Reveal() // the same one each time
	err := b.run(ctx, inst, append(b.grantLogin(inst, login(bd)),
		fmt.Sprintf("ALTER ROLE %s LOGIN CONNECTION LIMIT %d PASSWORD %s",
			pq.QuoteIdentifier(login(bd)), inst.Plan.Connections, pq.QuoteLiteral(password)))...)
	if err != nil {
		return services.BindResult{}, err // the engine removes everything that derives from the seed
	}
	uri := *b.url
	uri.User = url.UserPassword(login(bd), password)
	// Use the keys of servicebinding.io if it defines one.
	return services.BindResult{Credentials: services.Credentials{
		Values: map[string]any{
			"type": "postgresql", "provider": "chandler", "uri": uri.String(),
			"host": b.url.Hostname(), "port": b.url.Port(), "username": login(bd), "password": password,
		},
		Endpoints: []services.Endpoint{{Host: b.url.Hostname(), Ports: []string{b.url.Port()}, Protocol: "tcp"}},
	}}, nil
}

// grantLogin returns the statements that make a role of the instance, which cannot log in yet.
func (b *backend) grantLogin(inst instance, login string) []string {
	name, group := pq.QuoteIdentifier(login), pq.QuoteIdentifier(owner(inst))
	return []string{
		makeRole(login),
		fmt.Sprintf("GRANT %s TO %s", group, name),
		// Objects belong to the instance, so that all bindings can use them.
		fmt.Sprintf("ALTER ROLE %s SET role = %s", name, pq.QuoteLiteral(owner(inst))),
		fmt.Sprintf("ALTER ROLE %s SET search_path = %s", name, pq.QuoteLiteral(owner(inst))),
	}
}

// Unbind first refuses new sessions, then ends open ones.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, Params, BindParams]) (services.UnbindResult, error) {
	return services.UnbindResult{}, b.removeLogin(ctx, r.Instance, login(r.Binding))
}

func (b *backend) removeLogin(ctx context.Context, inst instance, name string) error {
	var there bool
	if err := b.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name).Scan(&there); err != nil || !there {
		return err
	}
	role := pq.QuoteIdentifier(name)
	if err := b.run(ctx, inst, "ALTER ROLE "+role+" NOLOGIN"); err != nil {
		return err
	}
	if _, err := b.db.ExecContext(ctx, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1", name); err != nil {
		return err
	}
	return b.run(ctx, inst,
		fmt.Sprintf("REASSIGN OWNED BY %s TO %s", role, pq.QuoteIdentifier(owner(inst))),
		"DROP OWNED BY "+role, "DROP ROLE "+role)
}

// Deprovision also removes remaining bindings.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, Params]) (services.DeprovisionResult, error) {
	logins, err := b.logins(ctx, r.Instance)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	for _, name := range logins {
		if err := b.removeLogin(ctx, r.Instance, name); err != nil {
			return services.DeprovisionResult{}, err
		}
	}
	name := pq.QuoteIdentifier(owner(r.Instance))
	return services.DeprovisionResult{}, b.run(ctx, r.Instance, "DROP SCHEMA IF EXISTS "+name+" CASCADE", "DROP ROLE IF EXISTS "+name)
}

// List is optional: "chandler orphans" uses it to find resources that nobody owns.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	rows, err := b.db.QueryContext(ctx, `SELECT r.rolname, coalesce((SELECT g.rolname FROM pg_auth_members a
		JOIN pg_roles g ON g.oid = a.roleid WHERE a.member = r.oid AND g.rolname LIKE 's\_%' LIMIT 1), '')
		FROM pg_roles r WHERE r.rolname ~ '^[sb]_[a-z2-7]{26}$'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []services.Resource
	for rows.Next() {
		var name, of string
		if err := rows.Scan(&name, &of); err != nil {
			return nil, err
		}
		f := services.Resource{Instance: name[2:], Name: "role " + name}
		if name[0] == 'b' {
			f.Instance, f.Binding = "", name[2:]
			if of != "" {
				f.Instance = of[2:]
			}
		}
		found = append(found, f)
	}
	return found, rows.Err()
}

// session is an application's session: a single connection that is never replaced.
type session struct {
	pool *sql.DB
	*sql.Conn
}

func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	uri, _ := credentials["uri"].(string)
	pool, err := sql.Open("postgres", uri)
	if err != nil {
		return nil, errors.New("uri: is invalid") // err would quote it
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return &session{pool, conn}, nil
}

func (s *session) Write(ctx context.Context, key, value string) error {
	if _, err := s.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS probe (key text PRIMARY KEY, value text)"); err != nil {
		return err
	}
	_, err := s.ExecContext(ctx, "INSERT INTO probe VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value", key, value)
	return err
}

func (s *session) Read(ctx context.Context, key string) (value string, err error) {
	return value, s.QueryRowContext(ctx, "SELECT value FROM probe WHERE key = $1", key).Scan(&value)
}

func (s *session) Ping(ctx context.Context) error { return s.PingContext(ctx) }
func (s *session) Close() error                   { return errors.Join(s.Conn.Close(), s.pool.Close()) }
