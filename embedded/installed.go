package embedded

import (
	"errors"
	"slices"
)

// NotInstalled says whether a server did not start because it is not installed. The
// error's text says what to install.
func NotInstalled(err error) bool {
	return slices.ContainsFunc([]error{
		ErrNoPostgres, ErrNoMariaDB, ErrNoRabbitMQ, ErrNoPowerDNS, ErrNoVersityGW, ErrNoSamba, ErrNoVault,
	}, func(missing error) bool { return errors.Is(err, missing) })
}
