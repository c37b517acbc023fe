package mysql

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

// everythingIn is what a copy has to contain, as an application makes it.
var everythingIn = []string{
	"ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_german1_ci",
	"CREATE TABLE parents (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) CHARACTER SET utf8mb4 NOT NULL UNIQUE) COMMENT 'quotes '' \\\\ ; --'",
	"INSERT INTO parents (name) SELECT CONCAT('Ünïcödé 😀 ', seq) FROM seq_1_to_500", "DELETE FROM parents WHERE id = 500",
	`CREATE TABLE kinds (id INT PRIMARY KEY, old VARCHAR(20) CHARACTER SET latin1, two TEXT CHARACTER SET ucs2, bin VARBINARY(300), bits BIT(12), blobs LONGBLOB,
		doc JSON, e ENUM('a', 'ü;'), s SET('x', 'y'), d DECIMAL(20,5), f DOUBLE, y YEAR, t TIME(6), dt DATETIME(3), ts TIMESTAMP(6) NULL, g GEOMETRY, u UUID, i INET6,
		twice INT GENERATED ALWAYS AS (id * 2) VIRTUAL, thrice INT AS (id * 3) STORED, hidden INT INVISIBLE DEFAULT 5, CHECK (id > 0),
		FULLTEXT (old), INDEX (doc(10)))`,
	`INSERT INTO kinds (id, old, two, bin, bits, blobs, doc, e, s, d, f, y, t, dt, ts, g, u, i, hidden) VALUES (1, 'äöü', 'ąę', UNHEX(REPEAT('00275C220A0D1AFF', 30)), b'101010101010',
		UNHEX(REPEAT('00275C220A0D1AFFE28099', 3000)), '{"a": "\\u00fc;"}', 'ü;', 'x,y', 123.45600, 0.1e-300, 2026, '-12:34:56.789012', '2000-01-01 00:00:00.123', '2001-02-03 04:05:06.5',
		ST_GeomFromText('POINT(1 2)'), UUID(), '::1', 7), (2, NULL, '', '', 0, '', NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
		(3, '(''),(', CONCAT(CHAR(96), ';\n'), 'x', 1, '\0', '[]', 'a', 'x', 0, 1, 1999, '00:00:00', '2000-01-01', '2001-01-01', NULL, NULL, NULL, 1)`,
	"CREATE TABLE children (parent INT, FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)", "CREATE TABLE parts (n INT) PARTITION BY HASH (n) PARTITIONS 2", "INSERT INTO parts VALUES (1), (2)",
	"CREATE TABLE kept (n INT PRIMARY KEY) WITH SYSTEM VERSIONING", "INSERT INTO kept VALUES (1)", "UPDATE kept SET n = 2", "DELETE FROM kept", "INSERT INTO kept VALUES (3)",
	"CREATE TABLE `odd ``name; ' ü` (`co``l'umn` INT)", "INSERT INTO `odd ``name; ' ü` VALUES (1)", "CREATE TABLE empty (n INT)", "CREATE TABLE without_key (t TEXT)",
	"INSERT INTO without_key VALUES ('DEFINER=`a`@`b` '), ('CREATE DEFINER=`a`@`b` VIEW'), (NULL)",
	"CREATE SEQUENCE steps START WITH 100 INCREMENT BY 7", "DO NEXT VALUE FOR steps",
	"CREATE FUNCTION plus(n INT) RETURNS INT DETERMINISTIC RETURN n + 1 -- it's; a comment",
	"CREATE VIEW b_seen AS SELECT plus(id) AS n, name, 'DEFINER=`a`@`b` ;' AS text FROM parents", "CREATE SQL SECURITY INVOKER VIEW a_seen AS SELECT COUNT(*) AS n FROM b_seen WHERE name LIKE 'Ü%'",
	"SET sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'",
	`CREATE PROCEDURE "fill ; it"(n INT) BEGIN INSERT INTO without_key VALUES ('C:\'), (CONCAT('ü', n)); END`,
	`CREATE TRIGGER first BEFORE INSERT ON without_key FOR EACH ROW SET NEW.t = CONCAT(COALESCE(NEW.t, ''), '\')`,
	"CREATE TRIGGER second BEFORE INSERT ON without_key FOR EACH ROW SET NEW.t = CONCAT(NEW.t, '2;')",
	"SET sql_mode = 'ORACLE'", "CREATE PACKAGE pack AS FUNCTION f RETURN INT; END", "CREATE PACKAGE BODY pack AS FUNCTION f RETURN INT AS BEGIN RETURN 42; END; END", "SET sql_mode = DEFAULT",
	"CREATE TABLE big (n INT PRIMARY KEY, t CHAR(32)) AS SELECT seq AS n, MD5(seq) AS t FROM seq_1_to_20000",
}

// asked are queries whose answers must be the same in a copy.
var asked = []string{
	"SELECT CONCAT(@@character_set_database, @@collation_database)",
	"SELECT CONCAT(COUNT(*), MAX(name), MAX(id)) FROM parents",
	"SELECT GROUP_CONCAT(CONCAT_WS('|', id, old, HEX(two), HEX(bin), bits + 0, MD5(blobs), doc, e, s, d, f, y, t, dt, ts, ST_AsText(g), u, i, twice, thrice, hidden) ORDER BY id) FROM kinds",
	"SELECT GROUP_CONCAT(n ORDER BY n) FROM kept", "SELECT GROUP_CONCAT(n ORDER BY n) FROM kept FOR SYSTEM_TIME ALL",
	"SELECT COUNT(*) FROM `odd ``name; ' ü`", "SELECT GROUP_CONCAT(COALESCE(t, 'NULL') ORDER BY t) FROM without_key",
	"SELECT CONCAT(n, (SELECT MAX(n) FROM b_seen), (SELECT MIN(text) FROM b_seen)) FROM a_seen", "SELECT CONCAT(COUNT(*), MAX(t)) FROM big",
	"SELECT GROUP_CONCAT(CONCAT(TABLE_NAME, TABLE_TYPE, COALESCE(TABLE_COLLATION, ''), TABLE_COMMENT) ORDER BY TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
	"SELECT GROUP_CONCAT(CONCAT(ROUTINE_NAME, ROUTINE_TYPE, SQL_MODE) ORDER BY ROUTINE_NAME, ROUTINE_TYPE) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()",
	"SELECT GROUP_CONCAT(CONCAT(TRIGGER_NAME, ACTION_ORDER, SQL_MODE, ACTION_STATEMENT) ORDER BY TRIGGER_NAME) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
	"SELECT GROUP_CONCAT(CONCAT(COLUMN_NAME, COLUMN_TYPE, EXTRA, COALESCE(CHARACTER_SET_NAME, '')) ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'kinds'",
	"SELECT GROUP_CONCAT(CONCAT(CONSTRAINT_NAME, DELETE_RULE)) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE()",
}

// fillAll is the suite's Fill.
func fillAll(t *testing.T, mine map[string]any) func(t *testing.T, theirs map[string]any) {
	t.Helper()
	with := func(t *testing.T, credentials map[string]any, do func(*client)) {
		t.Helper()
		s, err := mysqldb.Dial(testContext(t), credentials)
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		defer s.Close()
		clientOf(s).must(t, "SET group_concat_max_len = 1000000")
		do(clientOf(s))
	}
	answers := func(t *testing.T, c *client) []string {
		list := make([]string, len(asked))
		for i, query := range asked {
			list[i] = query + "\n" + c.ask(t, query)
		}
		return list
	}
	var want []string
	with(t, mine, func(c *client) { c.must(t, everythingIn...) })
	with(t, mine, func(c *client) { want = answers(t, c) })
	return func(t *testing.T, theirs map[string]any) {
		t.Helper()
		with(t, theirs, func(c *client) {
			if diff := cmp.Diff(want, answers(t, c)); diff != "" {
				t.Errorf("the copy differs (-want +got):\n%s", diff)
			}
			c.must(t, "CALL `fill ; it`(1)", "DELETE FROM without_key WHERE t LIKE 'C:%' OR t LIKE 'ü%'")
			if next := c.ask(t, "SELECT NEXT VALUE FOR steps"); next < "107" {
				t.Errorf("the sequence is at %s", next)
			}
		})
	}
}
