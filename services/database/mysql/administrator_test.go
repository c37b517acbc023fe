package mysql

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// administered opens a session as the administrator.
func (s *testServer) administered(t *testing.T) *client {
	t.Helper()
	return application(t, map[string]any{"uri": s.admin.String()})
}

// The administrator can do what the backend does, to the broker's databases
// and accounts, and nothing else.
func TestAdministratorIsNotRoot(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	_, credentials := bound(t, b, inst, "b", access.ReadWrite)
	dialled(t, credentials).must(t, "CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1)")
	server.exec(t, "CREATE DATABASE others; CREATE TABLE others.t (n INT); CREATE USER another IDENTIFIED BY 'another'")

	database, none := b.names.database(inst.Name), "'*"+strings.Repeat("0", 40)+"'"
	s := server.administered(t)
	for _, statement := range []string{
		"CREATE USER x",
		"DROP USER another",
		"ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY 'x'",
		"ALTER USER CURRENT_USER() REQUIRE SSL",
		"SET PASSWORD FOR 'root'@'127.0.0.1' = PASSWORD('x')",
		"GRANT ALL ON *.* TO CURRENT_USER()",
		"GRANT SELECT ON " + pattern(database) + ".* TO CURRENT_USER()",
		"SELECT * FROM others.t",
		"CREATE DATABASE more",
		"DROP DATABASE others",
		"DROP DATABASE cother",
		"SELECT * FROM " + database + ".t",
		"INSERT INTO " + database + ".t VALUES (2)",
		"SELECT * FROM mysql.global_priv",
		"UPDATE settings SET prefix = 'o'",
		"DROP TABLE settings",
		"CREATE OR REPLACE PROCEDURE checked() SELECT 1",
		"ALTER PROCEDURE drop_account SQL SECURITY INVOKER",
		"CREATE OR REPLACE VIEW accounts AS SELECT 1",
		"CALL drop_account('root')",
		"CALL drop_account('another')",
		"CALL close_account('root')",
		"CALL end_sessions('root')",
		"CALL limit_account('another', 1, 1)",
		"CALL set_rights('another', '" + database + "', 'full')",
		"CALL set_rights('" + b.names.account(services.BindingName("i", "b")) + "', 'mysql', 'full')",
		"CALL set_rights('" + b.names.account(services.BindingName("i", "b")) + "', '%', 'full')",
		"CALL set_rights('" + b.names.account(services.BindingName("i", "b")) + "', '" + database + "', 'all')",
		"CALL make_account('root', '" + database + "', 'full', " + none + ", 0, 1, 0)",
		"CALL make_account('" + strings.ToUpper(database) + "', '" + database + "', 'full', " + none + ", 0, 1, 0)",
		"CALL make_account('" + database + "\n', '" + database + "', 'full', " + none + ", 0, 1, 0)",
		"CALL make_account('" + database + "', '" + database + "', 'full', 'x'' OR', 0, 1, 0)",
		"CALL definers('mysql')",
		"CALL inside('mysql')",
		"CALL check_password('root', " + none + ")",
		"CALL restore_password('root', " + none + ")",
		"CALL restore_password('" + b.names.account(services.BindingName("i", "b")) + "', 'x'' OR')",
		"SELECT 'x' INTO OUTFILE '/tmp/chandler-outfile'",
		"SET GLOBAL read_only = ON",
		"SHUTDOWN",
	} {
		if err := s.run(t, statement); err == nil {
			t.Errorf("%s: was let through", statement)
		}
	}
	if rights := server.rootAsk(t, "SELECT GROUP_CONCAT(PRIVILEGE_TYPE) FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = '''chandler_admin''@''%'''"); rights != "CONNECTION ADMIN" {
		t.Errorf("global rights: %s", rights)
	}
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
}

func (s *testServer) rootAsk(t *testing.T, query string) string {
	t.Helper()
	var text sql.NullString
	if err := s.root.QueryRow(query).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text.String
}

// Root can run it again, which does not affect bindings.
func TestAdministratorSQLIsRepeatable(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	_, credentials := bound(t, b, inst, "b", access.ReadWrite)
	session := dialled(t, credentials)
	server.exec(t, AdministratorSQL("chandler_admin", adminPassword, "chandler", "c"))
	if err := b.Ready(testContext(t)); err != nil {
		t.Error(err)
	}
	session.must(t, "CREATE TABLE t (n INT)")
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(AdministratorSQL("a", "the password", "chandler", "c"), "the password") {
		t.Error("the statements hold the password")
	}
}

// Ready names what is wrong with the server or the administrator.
func TestReady(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	if err := b.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, breaks, mends, want string }{
		{"an anonymous account", "CREATE USER ''@'%'", "DROP USER ''@'%'", "anonymous account at host %"},
		{"a database for everybody", "GRANT SELECT ON test.* TO PUBLIC", "REVOKE SELECT ON test.* FROM PUBLIC", "everybody may use database test"},
		{"rights for everybody", "GRANT PROCESS ON *.* TO PUBLIC", "REVOKE PROCESS ON *.* FROM PUBLIC", "PUBLIC"},
		{"too many rights", "GRANT CREATE USER ON *.* TO chandler_admin", "REVOKE CREATE USER ON *.* FROM chandler_admin", "as good as root"},
		{"read-only", "SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF", "let the url name the primary"},
		{"an older script", "UPDATE chandler.settings SET version = 0", "UPDATE chandler.settings SET version = 2", "run it again as root"},
		{"another prefix", "UPDATE chandler.settings SET prefix = 'd'", "UPDATE chandler.settings SET prefix = 'c'", `for prefix "c"`},
		{"no script", "RENAME TABLE chandler.settings TO chandler.gone", "RENAME TABLE chandler.gone TO chandler.settings", "run administrator.sql"},
		{"any engine", "SET GLOBAL enforce_storage_engine = NULL", "SET GLOBAL enforce_storage_engine = InnoDB", "enforce_storage_engine=InnoDB"},
		{"one file", "SET GLOBAL innodb_file_per_table = OFF", "SET GLOBAL innodb_file_per_table = ON", "innodb_file_per_table=ON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server.exec(t, test.breaks)
			expect(t, b.Ready(testContext(t)), test.want)
			server.exec(t, test.mends)
			if err := b.Ready(testContext(t)); err != nil {
				t.Errorf("after the correction: %v", err)
			}
		})
	}
}
