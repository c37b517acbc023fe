-- Sets up a server (MariaDB 10.6 and newer) for Chandler's backend
-- database/mysql. Run it as root in a separate database, the one in the
-- administrator's URL. Run it again after an upgrade of Chandler or of the
-- server. In the client mariadb:
--
--   CREATE DATABASE IF NOT EXISTS chandler; USE chandler;
--   SET @administrator = 'chandler', @password = '...', @prefix = 'c';
--   SOURCE administrator.sql
--
-- @password may be the hash that PASSWORD('...') returns, which is safe in a
-- log. The prefix is the backend's configuration key of that name.
--
-- An account with CREATE USER can make itself root. The administrator therefore
-- does not have that right. It calls the procedures below, which only work on
-- the broker's accounts. They run as chandler_definer, which nobody can log in as.

SET @hash = IF(@password REGEXP '^[*][0-9A-F]{40}$', @password, CONCAT('*', UPPER(SHA1(UNHEX(SHA1(@password))))));
SET @password = NULL;

-- Remove anonymous accounts, and databases that everybody can use.
DELETE FROM mysql.global_priv WHERE User = '';
DELETE FROM mysql.db WHERE User = '';
FLUSH PRIVILEGES;

CREATE USER IF NOT EXISTS chandler_definer@localhost ACCOUNT LOCK;
GRANT CREATE USER, CONNECTION ADMIN, PROCESS ON *.* TO chandler_definer@localhost;
GRANT SELECT ON mysql.global_priv TO chandler_definer@localhost;
GRANT SELECT ON mysql.db TO chandler_definer@localhost;
GRANT SELECT ON mysql.proc TO chandler_definer@localhost;
EXECUTE IMMEDIATE CONCAT('GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER,
	CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, TRIGGER,
	DELETE HISTORY ON `', @prefix, '\\_%`.* TO chandler_definer@localhost WITH GRANT OPTION');
EXECUTE IMMEDIATE CONCAT('GRANT SELECT, EXECUTE ON `', REPLACE(DATABASE(), '_', '\\_'), '`.* TO chandler_definer@localhost');

CREATE TABLE IF NOT EXISTS settings (
	one TINYINT PRIMARY KEY CHECK (one = 1),
	-- the version of this file; the backend requires the one it was built with
	version INT NOT NULL,
	prefix VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
);
REPLACE INTO settings VALUES (1, 2, @prefix);

-- Databases that are over quota, and whether the sessions that could still write
-- have been ended.
CREATE TABLE IF NOT EXISTS full_databases (
	name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
	sessions_ended BOOLEAN NOT NULL DEFAULT FALSE
);

-- The broker's accounts, without their passwords.
CREATE OR REPLACE DEFINER = chandler_definer@localhost SQL SECURITY DEFINER VIEW accounts AS
SELECT u.User AS name,
	COALESCE(JSON_VALUE(u.Priv, '$.account_locked'), '0') IN ('1', 'true') AS locked,
	d.Db AS pattern, -- as GRANT stored it; indexed
	COALESCE(REPLACE(d.Db, CHAR(92), ''), '') AS database_name,
	CASE WHEN d.Insert_priv = 'Y' THEN 'full' WHEN d.Delete_priv = 'Y' THEN 'over' WHEN d.Select_priv = 'Y' THEN 'read' ELSE '' END AS rights
FROM settings s
JOIN mysql.global_priv u ON u.Host = '%' AND u.User REGEXP CONCAT('^', s.prefix, '_[a-z2-7]{26}$')
LEFT JOIN mysql.db d ON d.Host = u.Host AND d.User = u.User;

-- Anonymous accounts, and databases that everybody can use.
CREATE OR REPLACE DEFINER = chandler_definer@localhost SQL SECURITY DEFINER VIEW openings AS
SELECT CONCAT('anonymous account at host ', Host) AS opening FROM mysql.global_priv WHERE User = ''
UNION ALL SELECT CONCAT('everybody may use database ', Db) FROM mysql.db WHERE User IN ('', 'PUBLIC')
UNION ALL SELECT 'everybody has what PUBLIC was granted' FROM mysql.global_priv
	WHERE User = 'PUBLIC' AND COALESCE(JSON_VALUE(Priv, '$.access'), '0') <> '0';

DELIMITER $$

-- Returns a name if it is one of the broker's accounts or databases, which follow
-- the same rule. Otherwise it fails.
CREATE OR REPLACE DEFINER = chandler_definer@localhost FUNCTION checked(name VARCHAR(80) CHARACTER SET utf8mb4) RETURNS VARCHAR(80) CHARACTER SET utf8mb4
READS SQL DATA
BEGIN
	DECLARE its_prefix VARCHAR(9);
	SELECT CONCAT(prefix, '_') INTO its_prefix FROM settings;
	IF name IS NULL OR LENGTH(name) <> LENGTH(its_prefix) + 26
		OR NOT BINARY name REGEXP CONCAT('^', its_prefix, '[a-z2-7]{26}$') THEN
		SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'this name is not one of this broker';
	END IF;
	RETURN name;
END$$

-- Returns a hash if it has the form of PASSWORD()'s result. Otherwise it fails.
CREATE OR REPLACE DEFINER = chandler_definer@localhost FUNCTION checked_hash(hash VARCHAR(41)) RETURNS VARCHAR(41)
NO SQL
BEGIN
	IF hash IS NULL OR LENGTH(hash) <> 41 OR NOT BINARY hash REGEXP '^[*][0-9A-F]{40}$' THEN
		SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'this is not the hash of a password';
	END IF;
	RETURN hash;
END$$

-- Sets an account's rights on a database to a level: full, over (over quota) or
-- read. It grants before it revokes, so that the account always has its rights.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE set_rights(account VARCHAR(80), database_name VARCHAR(80), level VARCHAR(8))
MODIFIES SQL DATA
BEGIN
	DECLARE who VARCHAR(100) DEFAULT CONCAT('`', checked(account), '`@`%`');
	DECLARE place VARCHAR(100) DEFAULT CONCAT('`', REPLACE(checked(database_name), '_', '\\_'), '`.*');
	DECLARE given TEXT DEFAULT 'SELECT, SHOW VIEW';
	DECLARE taken TEXT DEFAULT '';
	CASE level
	WHEN 'read' THEN
		SET taken = 'INSERT, UPDATE, CREATE, ALTER, INDEX, REFERENCES, CREATE TEMPORARY TABLES, CREATE VIEW, CREATE ROUTINE, TRIGGER, DELETE, DROP, DELETE HISTORY, LOCK TABLES, EXECUTE, ALTER ROUTINE';
	WHEN 'over' THEN
		SET given = CONCAT(given, ', DELETE, DROP, DELETE HISTORY, LOCK TABLES, EXECUTE, ALTER ROUTINE');
		SET taken = 'INSERT, UPDATE, CREATE, ALTER, INDEX, REFERENCES, CREATE TEMPORARY TABLES, CREATE VIEW, CREATE ROUTINE, TRIGGER';
	WHEN 'full' THEN
		SET given = CONCAT(given, ', DELETE, DROP, DELETE HISTORY, LOCK TABLES, EXECUTE, ALTER ROUTINE, INSERT, UPDATE, CREATE, ALTER, INDEX, REFERENCES, CREATE TEMPORARY TABLES, CREATE VIEW, CREATE ROUTINE, TRIGGER');
	END CASE;
	EXECUTE IMMEDIATE CONCAT('GRANT ', given, ' ON ', place, ' TO ', who);
	IF taken <> '' THEN
		EXECUTE IMMEDIATE CONCAT('REVOKE ', taken, ' ON ', place, ' FROM ', who);
	END IF;
END$$

-- Limits an account's sessions and statements; 0 seconds means the server's limit.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE limit_account(account VARCHAR(80), connections INT UNSIGNED, seconds DECIMAL(9,3) UNSIGNED)
MODIFIES SQL DATA
BEGIN
	DECLARE who VARCHAR(100) DEFAULT CONCAT('`', checked(account), '`@`%`');
	EXECUTE IMMEDIATE CONCAT('ALTER USER IF EXISTS ', who, ' WITH MAX_USER_CONNECTIONS ', connections, ' MAX_STATEMENT_TIME ', seconds);
END$$

-- Creates an account, or resets an existing one to what it should be.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE make_account(account VARCHAR(80), database_name VARCHAR(80), level VARCHAR(8), hash VARCHAR(41), encrypted BOOLEAN, connections INT UNSIGNED, seconds DECIMAL(9,3) UNSIGNED)
MODIFIES SQL DATA
BEGIN
	DECLARE who VARCHAR(100) DEFAULT CONCAT('`', checked(account), '`@`%`');
	DECLARE what TEXT;
	SET what = CONCAT(who, ' IDENTIFIED VIA mysql_native_password USING ''', checked_hash(hash), ''' REQUIRE ', IF(encrypted, 'SSL', 'NONE'),
		' WITH MAX_USER_CONNECTIONS ', connections, ' MAX_STATEMENT_TIME ', seconds, ' PASSWORD EXPIRE NEVER ACCOUNT UNLOCK');
	EXECUTE IMMEDIATE CONCAT('CREATE USER IF NOT EXISTS ', what);
	CALL set_rights(account, database_name, level);
	EXECUTE IMMEDIATE CONCAT('ALTER USER ', what);
END$$

-- Ends an account's sessions, waits up to a second, and returns how many are left.
-- Sessions that are rolling back do not count: their client is disconnected, and
-- rolling back a large transaction takes minutes.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE end_sessions(account VARCHAR(80))
READS SQL DATA
BEGIN
	DECLARE who VARCHAR(100) DEFAULT CONCAT('`', checked(account), '`');
	DECLARE sessions, waited INT DEFAULT 0;
	EXECUTE IMMEDIATE CONCAT('KILL CONNECTION USER ', who);
	REPEAT
		IF sessions > 0 THEN
			DO SLEEP(0.005);
		END IF;
		SELECT COUNT(*) INTO sessions FROM information_schema.PROCESSLIST WHERE USER = account;
		SET waited = waited + 1;
	UNTIL sessions = 0 OR waited > 200 END REPEAT;
	SELECT COUNT(*) AS sessions FROM information_schema.PROCESSLIST WHERE USER = account AND COMMAND <> 'Killed';
END$$

-- Disables an account's login, and ends its sessions.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE close_account(account VARCHAR(80))
MODIFIES SQL DATA
BEGIN
	DECLARE who VARCHAR(100) DEFAULT CONCAT('`', checked(account), '`@`%`');
	EXECUTE IMMEDIATE CONCAT('ALTER USER IF EXISTS ', who, ' IDENTIFIED VIA mysql_native_password USING ''*', REPEAT('0', 40), ''' ACCOUNT LOCK');
	CALL end_sessions(account);
END$$

-- Returns whether an account that is not locked has this hash. The stored hash
-- does not leave the server.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE check_password(account VARCHAR(80), hash VARCHAR(41))
READS SQL DATA
BEGIN
	DECLARE who VARCHAR(80) CHARACTER SET utf8mb4 DEFAULT checked(account);
	SELECT JSON_VALUE(Priv, '$.plugin') = 'mysql_native_password' AND JSON_VALUE(Priv, '$.authentication_string') = hash AS correct
		FROM mysql.global_priv WHERE Host = '%' AND User = who AND COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0') IN ('0', 'false');
END$$

-- Sets an account's hash again.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE restore_password(account VARCHAR(80), hash VARCHAR(41))
MODIFIES SQL DATA
BEGIN
	DECLARE what TEXT DEFAULT CONCAT('`', checked(account), '`@`%` IDENTIFIED VIA mysql_native_password USING ''', checked_hash(hash), '''');
	EXECUTE IMMEDIATE CONCAT('ALTER USER IF EXISTS ', what);
END$$

CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE drop_account(account VARCHAR(80))
MODIFIES SQL DATA
BEGIN
	DECLARE who VARCHAR(100) DEFAULT CONCAT('`', checked(account), '`@`%`');
	EXECUTE IMMEDIATE CONCAT('DROP USER IF EXISTS ', who);
END$$

-- Returns the accounts that defined the views, routines and triggers of a database.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE definers(database_name VARCHAR(80))
READS SQL DATA
BEGIN
	DECLARE place VARCHAR(80) DEFAULT checked(database_name);
	SELECT SUBSTRING_INDEX(DEFINER, '@', 1) AS account FROM information_schema.VIEWS WHERE TABLE_SCHEMA = place
	UNION SELECT SUBSTRING_INDEX(DEFINER, '@', 1) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = place
	UNION SELECT SUBSTRING_INDEX(definer, '@', 1) FROM mysql.proc WHERE db = place;
END$$

-- Returns the kinds and names of a database's routines, for a backup.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE routines(database_name VARCHAR(80))
READS SQL DATA
BEGIN
	DECLARE place VARCHAR(80) DEFAULT checked(database_name);
	SELECT CAST(type AS CHAR), name FROM mysql.proc WHERE db = place ORDER BY type, name;
END$$

-- Returns the statement that creates a routine.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE show_routine(database_name VARCHAR(80), kind VARCHAR(16), routine VARCHAR(64) CHARACTER SET utf8mb4)
READS SQL DATA
BEGIN
	DECLARE place VARCHAR(80) DEFAULT checked(database_name);
	IF kind NOT IN ('FUNCTION', 'PROCEDURE', 'PACKAGE', 'PACKAGE BODY') THEN
		SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'this is not a kind of routine';
	END IF;
	EXECUTE IMMEDIATE CONCAT('SHOW CREATE ', kind, ' `', place, '`.`', REPLACE(routine, '`', '``'), '`');
END$$

-- Returns the sizes of the files and of the routines of all the broker's databases.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE sizes()
READS SQL DATA
BEGIN
	DECLARE beginning VARCHAR(20);
	SELECT CONCAT(prefix, '_') INTO beginning FROM settings;
	SELECT SUBSTRING_INDEX(NAME, '/', 1) AS database_name, CAST(SUM(FILE_SIZE) AS SIGNED) AS files, 0 AS routines
		FROM information_schema.INNODB_SYS_TABLESPACES WHERE LEFT(NAME, LENGTH(beginning)) = beginning GROUP BY 1
	UNION ALL SELECT db, 0, CAST(SUM(LENGTH(body) + LENGTH(param_list) + LENGTH(comment)) AS SIGNED)
		FROM mysql.proc WHERE LEFT(db, LENGTH(beginning)) = beginning GROUP BY db;
END$$

-- Returns the free space in the files of a database, and the size of the texts of
-- its views (which their files hold three times) and triggers. The server opens
-- every table for this. It skips a table that a session is changing instead of
-- waiting for that session, because the statement also reads settings.
CREATE OR REPLACE DEFINER = chandler_definer@localhost PROCEDURE inside(database_name VARCHAR(80))
READS SQL DATA
BEGIN
	DECLARE place VARCHAR(80) DEFAULT checked(database_name);
	SELECT (SELECT CAST(COALESCE(SUM(DATA_FREE), 0) AS SIGNED) FROM information_schema.TABLES WHERE TABLE_SCHEMA = place) AS free,
		(SELECT CAST(COALESCE(SUM(LENGTH(VIEW_DEFINITION)), 0) AS SIGNED) * 3 FROM information_schema.VIEWS WHERE TABLE_SCHEMA = place)
		+ (SELECT CAST(COALESCE(SUM(LENGTH(ACTION_STATEMENT)), 0) AS SIGNED) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = place) AS texts
		FROM settings;
END$$

DELIMITER ;

-- The administrator: it creates and drops databases that begin with the prefix,
-- and otherwise calls the procedures above. With CONNECTION ADMIN it can connect
-- while applications hold all connections of the server.
EXECUTE IMMEDIATE CONCAT('CREATE USER IF NOT EXISTS ', QUOTE(@administrator), '@''%''');
EXECUTE IMMEDIATE CONCAT('ALTER USER ', QUOTE(@administrator), '@''%'' IDENTIFIED VIA mysql_native_password USING ', QUOTE(@hash));
EXECUTE IMMEDIATE CONCAT('GRANT CONNECTION ADMIN ON *.* TO ', QUOTE(@administrator), '@''%''');
EXECUTE IMMEDIATE CONCAT('GRANT CREATE, DROP ON `', @prefix, '\\_%`.* TO ', QUOTE(@administrator), '@''%''');
EXECUTE IMMEDIATE CONCAT('GRANT SELECT, EXECUTE ON `', REPLACE(DATABASE(), '_', '\\_'), '`.* TO ', QUOTE(@administrator), '@''%''');
EXECUTE IMMEDIATE CONCAT('GRANT INSERT, UPDATE, DELETE ON `', DATABASE(), '`.full_databases TO ', QUOTE(@administrator), '@''%''');
SET @hash = NULL;
