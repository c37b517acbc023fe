package mysql

import (
	"net/url"
	"testing"

	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

// reach tries to reach another instance, the administrator's database and the server.
func reach(t *testing.T, mine, theirs map[string]any) {
	ctx := testContext(t)
	theirName, theirUser := theirs["database"].(string), theirs["username"].(string)
	for name, change := range map[string]func(u *url.URL){
		"their database":               func(u *url.URL) { u.Path = "/" + theirName },
		"the administrator's database": func(u *url.URL) { u.Path = "/chandler" },
		"the server's own database":    func(u *url.URL) { u.Path = "/mysql" },
		"their user and my password": func(u *url.URL) {
			u.User = url.UserPassword(theirUser, mine["password"].(string))
			u.Path = "/" + theirName
		},
		"root and no password":              func(u *url.URL) { u.User = url.User("root"); u.Path = "/" },
		"nobody and no password":            func(u *url.URL) { u.User = url.User(""); u.Path = "/" },
		"the administrator and no password": func(u *url.URL) { u.User = url.User("chandler_admin") },
		"the definer and no password":       func(u *url.URL) { u.User = url.User("chandler_definer") },
	} {
		u := parsed(t, mine["uri"].(string))
		change(u)
		if s, err := mysqldb.Dial(ctx, map[string]any{"uri": u.String()}); err == nil {
			t.Errorf("%s: connected", name)
			_ = s.Close()
		}
	}
	s := application(t, mine)
	for _, statement := range hostileStatements(theirName, theirUser, mine["database"].(string), mine["username"].(string)) {
		if err := s.run(t, statement); err == nil {
			t.Errorf("%s: was let through", statement)
		}
	}
	s.must(t, "KILL USER '"+theirUser+"'") // finds none of his own; the suite looks whether theirs went on
	if seen := s.ask(t, "SELECT GROUP_CONCAT(SCHEMA_NAME ORDER BY 1) FROM information_schema.SCHEMATA"); seen != mine["database"].(string)+",information_schema" {
		t.Errorf("databases to be seen: %s", seen)
	}
	for _, empty := range []string{
		"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '" + theirName + "'",
		"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER <> '" + mine["username"].(string) + "'",
		"SELECT COUNT(*) FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE LIKE '%" + theirUser + "%'",
		"SELECT LOAD_FILE('/etc/passwd') IS NOT NULL",
	} {
		if n := s.ask(t, empty); n != "0" {
			t.Errorf("%s: %s", empty, n)
		}
	}
}

func hostileStatements(theirs, user, mine, me string) []string {
	return []string{
		"USE " + theirs,
		"SELECT * FROM " + theirs + ".chandler_probe",
		"INSERT INTO " + theirs + ".chandler_probe VALUES ('x', 'y')",
		"DROP TABLE " + theirs + ".chandler_probe",
		"RENAME TABLE " + theirs + ".chandler_probe TO " + mine + ".stolen",
		"CREATE TABLE f (n INT PRIMARY KEY, FOREIGN KEY (n) REFERENCES " + theirs + ".chandler_probe (name))",
		"CREATE VIEW v AS SELECT * FROM " + theirs + ".chandler_probe",
		"CREATE DEFINER = '" + user + "'@'%' VIEW v AS SELECT * FROM " + theirs + ".chandler_probe",
		"CREATE DEFINER = '" + user + "'@'%' PROCEDURE p() SELECT * FROM " + theirs + ".chandler_probe",
		"CREATE TABLE m LIKE " + theirs + ".chandler_probe",
		"DROP DATABASE " + theirs,
		"ALTER DATABASE " + theirs + " CHARACTER SET latin1",
		"CREATE DATABASE another",
		"CREATE DATABASE c_aaaaaaaaaaaaaaaaaaaaaaaaaa",
		"LOCK TABLES " + theirs + ".chandler_probe WRITE",
		"BACKUP LOCK " + theirs + ".chandler_probe",
		"FLUSH TABLES WITH READ LOCK",
		"GRANT SELECT ON " + mine + ".* TO '" + user + "'@'%'",
		"GRANT ALL ON " + theirs + ".* TO '" + me + "'@'%'",
		"GRANT ALL ON *.* TO CURRENT_USER()",
		"GRANT USAGE ON *.* TO CURRENT_USER() WITH MAX_USER_CONNECTIONS 1000",
		"ALTER USER CURRENT_USER() WITH MAX_USER_CONNECTIONS 1000",
		"ALTER USER CURRENT_USER() REQUIRE NONE",
		"ALTER USER '" + user + "'@'%' IDENTIFIED BY 'x'",
		"SET PASSWORD FOR '" + user + "'@'%' = PASSWORD('x')",
		"SET PASSWORD FOR 'root'@'127.0.0.1' = PASSWORD('x')",
		"SHOW GRANTS FOR '" + user + "'@'%'",
		"SHOW CREATE USER '" + user + "'@'%'",
		"DROP USER '" + user + "'@'%'",
		"RENAME USER '" + user + "'@'%' TO 'x'@'%'",
		"CREATE USER another",
		"CREATE ROLE another",
		"SELECT * FROM mysql.global_priv",
		"SELECT * FROM mysql.proc",
		"SELECT * FROM chandler.accounts",
		"SELECT * FROM chandler.full_databases",
		"CALL chandler.set_rights('" + me + "', '" + theirs + "', 'full')",
		"CALL chandler.make_account('" + me + "', '" + theirs + "', 'full', '*" + "0000000000000000000000000000000000000000" + "', 0, 9, 0)",
		"CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO SELECT 1",
		"CREATE TABLE a (n INT) ENGINE = Aria",
		"CREATE TABLE a (n INT) ENGINE = MEMORY",
		"SET SESSION enforce_storage_engine = NULL",
		"SET SESSION sql_log_bin = 0",
		"SET GLOBAL max_connections = 1",
		"SELECT 'x' INTO OUTFILE '/tmp/chandler-outfile'",
		"LOAD DATA INFILE '/etc/passwd' INTO TABLE chandler_probe",
		"INSTALL SONAME 'metadata_lock_info'",
		"CREATE FUNCTION f RETURNS STRING SONAME 'udf.so'",
		"CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1')",
		"SHOW ENGINE INNODB STATUS",
		"SELECT * FROM information_schema.INNODB_SYS_TABLESPACES",
		"SELECT * FROM performance_schema.accounts",
		"SHUTDOWN",
	}
}
