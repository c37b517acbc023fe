package openstack

import (
	"context"
	"fmt"
	"path"
	"strings"
	"text/template"

	"github.com/chandler-broker/chandler/embedded"
)

const (
	loopback     = "127.0.0.1"
	region       = "RegionOne"
	policyFile   = "policy.yaml"
	databaseUser = "openstack"
)

// settings are what the files in folder conf are filled with. Each service has a copy.
type settings struct {
	packages         packages
	mariaDB          string // host:port
	databasePassword string
	identity         int // the port
	passwords        accountPasswords
	endpoints        []endpoint

	Port   int    // the service's own
	State  string // the service's folder
	Keys   string // Keystone's folder
	Policy string // Keystone's

	// Designate's.
	TransferPort, NameServerPort int
	NameServerAPI, NameServerKey string

	// Ceph's.
	FSID, Keyring                            string
	MonitorPort, OldMonitorPort, GatewayPort int
	MonitorData, StoreData, ManagerModules   string
	CephConfig                               string
}

// IdentityRoot is the address of Keystone.
func (s settings) IdentityRoot() string { return address(s.identity) }

// Share is the folder with the packages' default files.
func (s settings) Share() string { return s.packages.path("usr/share") }

// Libraries is the folder of the packages' shared libraries.
func (s settings) Libraries() string { return s.packages.libraries() }

// Templates is the folder of Trove's configuration templates.
func (s settings) Templates() string {
	return s.packages.path("usr/lib/python3/dist-packages/trove/templates")
}

// Database is the URL of a service's database for SQLAlchemy.
func (s settings) Database(name string) string {
	return fmt.Sprintf("mysql+pymysql://%s:%s@%s/%s?charset=utf8", databaseUser, s.databasePassword, s.mariaDB, name)
}

// Authentication is the section of a service that checks tokens. serviceType is that of the
// catalog: Keystone's middleware compares access rules with it.
func (s settings) Authentication(account, serviceType string) string {
	return strings.Join([]string{
		"[keystone_authtoken]",
		"www_authenticate_uri = " + s.IdentityRoot() + "/v3",
		"auth_url = " + s.IdentityRoot() + "/v3",
		"auth_type = password",
		"username = " + account,
		"password = " + s.passwords[account],
		"project_name = service",
		"user_domain_id = default",
		"project_domain_id = default",
		"service_token_roles = service",
		"service_token_roles_required = true",
		"service_type = " + serviceType,
		"token_cache_time = -1", // a revoked token is refused at once
	}, "\n")
}

func address(port int) string { return fmt.Sprintf("http://%s:%d", loopback, port) }

// render fills a file of folder conf.
func (s settings) render(name string) (string, error) {
	parsed, err := template.New(name).ParseFS(files, path.Join("conf", name))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = parsed.Execute(&text, s)
	return text.String(), err
}

// python is a program of folder python with a configuration of folder conf, in a server's folder.
// modules are more of folder python that it imports, beside pings.py.
func (s settings) python(r *ready, c *embedded.Command, script, mode, configuration string, modules ...string) (embedded.Program, error) {
	sources := map[string]string{}
	for _, name := range append(modules, script, "pings.py") {
		source, err := files.ReadFile(path.Join("python", name))
		if err != nil {
			return embedded.Program{}, err
		}
		sources[name] = string(source)
	}
	config, err := s.render(configuration)
	sources[configuration] = config
	return embedded.Program{
		Path: s.packages.python,
		Args: []string{c.Path(script), mode, c.Path(configuration)},
		Env:  s.packages.environment(c.Path("."), r.bytecode()),
		Log:  strings.TrimSuffix(configuration, path.Ext(configuration)) + ".log",
		// Their state is in MariaDB, and an orderly end takes seconds.
		Abrupt: true,
		Files:  sources,
	}, err
}

// makeDatabases makes the services' databases, and the account that uses them, if necessary, and
// gives it the password.
func (s settings) makeDatabases(ctx context.Context, server *embedded.MariaDB) error {
	root, err := embedded.OpenMariaDB(server.URL(""))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	user := "'" + databaseUser + "'@'" + loopback + "'"
	statements := []string{"CREATE OR REPLACE USER " + user + " IDENTIFIED BY '" + s.databasePassword + "'"}
	for _, name := range databaseNames {
		// Some keys would be too long for MariaDB with four bytes a character.
		statements = append(statements, "CREATE DATABASE IF NOT EXISTS "+name+" CHARACTER SET utf8mb3", "GRANT ALL ON "+name+".* TO "+user)
	}
	if _, err := root.ExecContext(ctx, strings.Join(statements, ";")); err != nil {
		return fmt.Errorf("make OpenStack's databases: %w", err)
	}
	return nil
}
