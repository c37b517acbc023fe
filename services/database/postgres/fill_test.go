package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everything is what a copy has to contain, as an application makes it.
const everything = `
	CREATE EXTENSION citext; CREATE EXTENSION hstore; COMMENT ON EXTENSION hstore IS 'ours';
	CREATE SCHEMA shop; COMMENT ON SCHEMA shop IS 'quotes '' and " and \ and ü';
	CREATE TYPE shop.mood AS ENUM ('ok', 'bad'); CREATE DOMAIN shop.positive AS int CHECK (VALUE > 0);
	CREATE TYPE shop.pair AS (a int, b text); CREATE TYPE shop.span AS RANGE (subtype = float8);
	CREATE FUNCTION shop.double(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n';
	CREATE TABLE shop.orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who citext NOT NULL, mood shop.mood DEFAULT 'ok',
		count shop.positive, extra hstore, doc jsonb, bytes bytea, at timestamptz DEFAULT now(), pair shop.pair, span shop.span,
		twice int GENERATED ALWAYS AS (shop.double(count)) STORED, EXCLUDE USING gist (span WITH &&));
	INSERT INTO shop.orders (who, count, extra, doc, bytes, pair, span)
		SELECT 'Name ' || n, n, 'k=>v', '{"n": [1, null, "\u00fc"]}', decode('00ff0a0d5c', 'hex'), (n, E'line\nbreak\ttab\\.')::shop.pair, shop.span(n, n + 0.5)
		FROM generate_series(1, 300) n;
	CREATE INDEX ON shop.orders (shop.double(count)) WHERE count > 10; CREATE STATISTICS shop.guess ON id, count FROM shop.orders;
	CREATE TABLE shop.lines (orders int REFERENCES shop.orders, at date NOT NULL) PARTITION BY RANGE (at);
	CREATE TABLE shop.lines_old PARTITION OF shop.lines FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
	CREATE TABLE shop.lines_new PARTITION OF shop.lines DEFAULT; CREATE INDEX ON shop.lines (at);
	INSERT INTO shop.lines VALUES (1, '2019-01-01'), (2, '2021-01-01'), (3, '2022-01-01');
	CREATE TABLE parent (a int); INSERT INTO parent VALUES (1); CREATE TABLE child (b int) INHERITS (parent); INSERT INTO child VALUES (2, 3);
	ALTER TABLE parent ADD COLUMN c int DEFAULT 5; ALTER TABLE child DROP COLUMN b;
	CREATE TABLE secret (id int, v text); INSERT INTO secret VALUES (1, 'a'), (2, 'b');
	ALTER TABLE secret ENABLE ROW LEVEL SECURITY; ALTER TABLE secret FORCE ROW LEVEL SECURITY;
	CREATE POLICY first_only ON secret USING (id = 1);
	CREATE VIEW shop.names AS SELECT id, who FROM shop.orders; CREATE MATERIALIZED VIEW shop.counted AS SELECT count(*) AS n FROM shop.orders;
	CREATE FUNCTION shop.definer() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = shop AS 'SELECT count(*) FROM orders';
	REVOKE EXECUTE ON FUNCTION shop.definer() FROM PUBLIC;
	CREATE PROCEDURE shop.reset(INOUT n int) LANGUAGE plpgsql AS $$ BEGIN n := 1; END $$;
	CREATE AGGREGATE shop.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
	CREATE FUNCTION shop.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := '2000-01-01'; RETURN NEW; END $$;
	CREATE TRIGGER stamp BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.stamp();
	CREATE TABLE ruled (n int); CREATE RULE ignored AS ON DELETE TO ruled DO INSTEAD NOTHING; INSERT INTO ruled VALUES (1);
	CREATE OPERATOR shop.%% (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
	CREATE CAST (shop.pair AS text) WITH INOUT; CREATE COLLATION shop.german (locale = 'C');
	CREATE SEQUENCE steps INCREMENT 7; SELECT nextval('steps'), nextval('steps');
	CREATE PUBLICATION published FOR TABLE shop.orders;
	CREATE UNLOGGED TABLE fast (n int); INSERT INTO fast VALUES (1); CREATE TABLE "odd ""name
with a line" ("column
two" int); INSERT INTO "odd ""name
with a line" VALUES (1); CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;
	CREATE TABLE empty_text (t text); INSERT INTO empty_text VALUES (''), ('\.'), (NULL);
	SELECT lo_from_bytea(4711, convert_to(repeat('large', 5000), 'UTF8')), lo_from_bytea(4712, '\x00ff');
	ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; GRANT SELECT ON shop.orders TO PUBLIC;
	CREATE TABLE big AS SELECT n, md5(n::text) AS t FROM generate_series(1, 20000) n; ALTER TABLE big ADD PRIMARY KEY (n);
	SET ROLE NONE; CREATE TABLE shop_of_binding (x int); INSERT INTO shop_of_binding VALUES (7); GRANT SELECT ON shop_of_binding TO PUBLIC`

// asked are queries whose answers must be the same in a copy.
var asked = []string{
	"SELECT current_setting('work_mem') || current_setting('search_path')",
	"SELECT string_agg(o::text, ';' ORDER BY id) FROM shop.orders o", "SELECT id FROM shop.orders WHERE who = 'NAME 7'",
	"SELECT count(*) || ' ' || min(at) || ' ' || max(at) FROM shop.lines", "SELECT count(*) FROM ONLY shop.lines_new",
	"SELECT string_agg(p::text, ';' ORDER BY a) FROM parent p", "SELECT string_agg(c::text, ';' ORDER BY a) FROM child c", "SELECT string_agg(s::text, ';') FROM secret s",
	"SELECT n FROM shop.counted", "SELECT shop.definer()", "SELECT shop.total(id) FROM shop.orders", "SELECT 3 OPERATOR(shop.%%) 4",
	"SELECT count(*) FROM fast", `SELECT "column
two" FROM "odd ""name
with a line"`, "SELECT count(*) FROM nothing", "SELECT string_agg(coalesce(t, 'NULL'), ',' ORDER BY t) FROM empty_text",
	"SELECT convert_from(lo_get(4711), 'UTF8') || lo_get(4712)::text", "SELECT x FROM shop_of_binding", "SELECT count(*) || max(t) FROM big",
	"SELECT obj_description('shop'::regnamespace) || (SELECT obj_description(oid) FROM pg_extension WHERE extname = 'hstore')",
	"SELECT string_agg(pubname || ' ' || tablename, ',') FROM pg_publication_tables",
	"SELECT has_function_privilege('public', 'shop.definer()', 'EXECUTE')",
	`SELECT string_agg(concat(relname, relkind, relpersistence, relrowsecurity, relforcerowsecurity), ',' ORDER BY relname COLLATE "C")
		FROM pg_class WHERE relnamespace IN ('shop'::regnamespace, 'public'::regnamespace)`,
	`SELECT string_agg(pg_get_constraintdef(oid), ',' ORDER BY conname COLLATE "C") FROM pg_constraint WHERE connamespace = 'shop'::regnamespace`,
	`SELECT string_agg(pg_get_functiondef(oid), ',' ORDER BY oid::regprocedure::text COLLATE "C") FROM pg_proc WHERE pronamespace = 'shop'::regnamespace AND prokind <> 'a'`,
}

// fillAll is the suite's Fill.
func fillAll(t *testing.T, mine map[string]any) func(t *testing.T, theirs map[string]any) {
	t.Helper()
	with := func(t *testing.T, credentials map[string]any, do func(*client)) {
		t.Helper()
		s, err := dial(testContext(t), credentials)
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		defer s.Close()
		do(clientOf(s))
	}
	database := ident(mine["database"].(string))
	with(t, mine, func(c *client) {
		if err := c.run(t, everything); err != nil {
			t.Fatalf("fill the database: %v", err)
		}
		c.must(t, `SET ROLE `+ident(mine["database"].(string)+"_owner")+`; ALTER DATABASE `+database+` SET work_mem = '9MB'; ALTER DATABASE `+database+` SET search_path = "$user", public, "odd, schema"; ALTER DATABASE `+database+` SET default_transaction_read_only = off`)
	})
	answers := func(t *testing.T, c *client) []string {
		list := make([]string, len(asked))
		for i, query := range asked {
			list[i] = query + "\n" + c.asks(t, query)
		}
		return list
	}
	var want []string
	with(t, mine, func(c *client) { want = answers(t, c) })
	return func(t *testing.T, theirs map[string]any) {
		t.Helper()
		with(t, theirs, func(c *client) { isSame(t, c, want, answers(t, c), theirs) })
	}
}

func isSame(t *testing.T, c *client, want, got []string, theirs map[string]any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the copy differs (-want +got):\n%s", diff)
	}
	owners := strings.Split(c.asks(t, `SELECT string_agg(DISTINCT o::regrole::text, ',') FROM (
			SELECT relowner FROM pg_class WHERE relnamespace IN ('shop'::regnamespace, 'public'::regnamespace)
			UNION SELECT proowner FROM pg_proc p JOIN pg_language l ON l.oid = prolang AND lanname <> 'internal' WHERE pronamespace = 'shop'::regnamespace
			UNION SELECT lomowner FROM pg_largeobject_metadata UNION SELECT nspowner FROM pg_namespace WHERE nspname = 'shop'
			UNION SELECT extowner FROM pg_extension WHERE extname <> 'plpgsql') o (o)`), ",")
	if owner := theirs["database"].(string) + "_owner"; !slices.Equal(owners, []string{owner}) && !slices.Equal(owners, []string{`"` + owner + `"`}) {
		t.Errorf("it belongs to %s", owners)
	}
	if next := c.asks(t, "SELECT last_value FROM steps"); next != "8" {
		t.Errorf("the sequence is at %s", next)
	}
	c.must(t, "DROP TABLE shop_of_binding; CREATE TABLE shop_of_binding (x int); INSERT INTO shop_of_binding VALUES (7)")
}
