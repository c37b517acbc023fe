package embedded

import (
	"context"
	"crypto/rand"
)

const pidFile = dataFolder + "/postmaster.pid"

// fill finds the programs that fit the data, or makes new data.
func (s *Postgres) fill(ctx context.Context) error {
	version, err := s.folder.readFile(dataFolder + "/PG_VERSION")
	if err != nil {
		return err
	}
	if s.binaries, err = findPostgres(ctx, firstNumber(string(version))); err != nil {
		return err
	}
	if s.password, err = s.folder.storedSecret(passwordFile, rand.Text); err != nil {
		return err
	}
	return s.folder.makeData(ctx, s.initdb)
}

func (s *Postgres) initdb(ctx context.Context) error {
	args := []string{
		"--pgdata=" + s.folder.childPath(freshData), "--username=" + superuser,
		"--pwfile=" + s.folder.childPath(passwordFile), "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8",
	}
	if s.noSync {
		args = append(args, "--no-sync")
	}
	return runProcess(ctx, s.folder, program{path: s.binaries.path("initdb"), args: args})
}
