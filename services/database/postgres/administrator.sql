-- Sets up a server (PostgreSQL 13 and newer) for Chandler's backend
-- database/postgres. Run it as a superuser in the database in the
-- administrator's URL. Run it again after an upgrade of Chandler or of the
-- server. In psql:
--
--   \set administrator chandler
--   \prompt 'password of the administrator: ' password
--   \i administrator.sql

SELECT pg_catalog.set_config('chandler.administrator', :'administrator', false) <> '' AS administrator,
       pg_catalog.set_config('chandler.password', :'password', false) <> '' AS password;

DO $administrator$
DECLARE
	name text := pg_catalog.current_setting('chandler.administrator');
	backup text;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
		EXECUTE pg_catalog.format('CREATE ROLE %I', name);
	END IF;
	-- The administrator creates databases and roles. It is not a superuser: an
	-- attacker with its password would get the tenants' data, but not the machine.
	EXECUTE pg_catalog.format('ALTER ROLE %I WITH LOGIN INHERIT CREATEDB CREATEROLE NOSUPERUSER NOREPLICATION NOBYPASSRLS PASSWORD %L',
		name, pg_catalog.current_setting('chandler.password'));
	-- It ends sessions, and measures databases whose owners have locked it out.
	EXECUTE pg_catalog.format('GRANT pg_signal_backend, pg_read_all_stats TO %I', name);
	-- Tenants connect to their own database only.
	EXECUTE pg_catalog.format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', pg_catalog.current_database());
	EXECUTE 'REVOKE CONNECT, TEMPORARY ON DATABASE template1 FROM PUBLIC';
	EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO %I', pg_catalog.current_database(), name);
	-- For plans with temp_file_limit: it sets the limit, or measures the files on
	-- older servers.
	EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_tmpdir() TO %I', name);
	IF pg_catalog.current_setting('server_version_num')::int >= 150000 THEN
		EXECUTE pg_catalog.format('GRANT SET ON PARAMETER temp_file_limit TO %I', name);
	END IF;
	-- All sessions of the server share one lock table. It must be large enough for a
	-- few sessions at their plan's limit ("locks").
	IF pg_catalog.current_setting('max_locks_per_transaction')::int < 256 THEN
		RAISE WARNING 'max_locks_per_transaction is %; set it to 256 or more and restart the server',
			pg_catalog.current_setting('max_locks_per_transaction');
	END IF;
	-- DROP DATABASE waits for all sessions of the server, and for a client that has begun its
	-- login until this time is over.
	IF (SELECT s.setting::int > 10 FROM pg_catalog.pg_settings s WHERE s.name = 'authentication_timeout') THEN
		RAISE WARNING 'authentication_timeout is %; set it to 10s or less and reload the server',
			pg_catalog.current_setting('authentication_timeout');
	END IF;
	-- It can use the connections that reserved_connections reserves while
	-- applications hold all others.
	IF pg_catalog.current_setting('server_version_num')::int >= 160000 THEN
		EXECUTE pg_catalog.format('GRANT pg_use_reserved_connections TO %I', name);
	END IF;
	-- For backups. While it dumps a database, it is a member of the roles that own what is
	-- in it. It reads what row security hides from these; the administrator could not. The
	-- administrator sets its password.
	backup := name || '_backup';
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = backup) THEN
		EXECUTE pg_catalog.format('CREATE ROLE %I', backup);
	END IF;
	EXECUTE pg_catalog.format('ALTER ROLE %I WITH LOGIN INHERIT BYPASSRLS NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', backup);
	IF pg_catalog.current_setting('server_version_num')::int >= 160000 THEN
		EXECUTE pg_catalog.format('GRANT %I TO %I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', backup, name);
	END IF;
END
$administrator$;

SELECT pg_catalog.set_config('chandler.password', '', false) = '' AS password_forgotten;
