package postgres

import (
	"context"
	"slices"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
)

// extend creates the wanted extensions in the instance's database, and drops previous
// ones that are no longer wanted.
func (b *backend) extend(ctx context.Context, s *session, n names, previous, wanted []string) error {
	unwanted := slices.DeleteFunc(slices.Clone(previous), func(e string) bool { return slices.Contains(wanted, e) })
	if len(unwanted)+len(wanted) == 0 {
		return nil
	}
	return b.inside(ctx, s, n.database, func(t *session) error {
		for _, e := range unwanted {
			err := b.orNotYet(ctx, n.database, "drop extension "+e, func() error {
				return t.actingInPublic(ctx, n.owner, "DROP EXTENSION IF EXISTS "+ident(e))
			})
			if err != nil {
				return dropRejected(e, err)
			}
		}
		for _, e := range wanted {
			err := b.orNotYet(ctx, n.database, "create extension "+e, func() error {
				return t.actingInPublic(ctx, n.owner, "CREATE EXTENSION IF NOT EXISTS "+ident(e)+" CASCADE")
			})
			if err != nil {
				return createRejected(e, err)
			}
		}
		return nil
	})
}

// actingInPublic runs a statement as the owner role, which makes the extension the
// tenant's own. Schema public, where extensions go by default, is on the search path for
// this statement alone.
func (s *session) actingInPublic(ctx context.Context, owner, statement string) error {
	return s.acting(ctx, []string{owner}, "SET LOCAL search_path = public", "SET LOCAL ROLE "+ident(owner), statement, "SET LOCAL ROLE NONE")
}

func createRejected(extension string, err error) error {
	rejected := func(why string) error { return services.Rejected("parameters.extensions: %q %s", extension, why) }
	switch {
	case is(err, pqerror.FeatureNotSupported, pqerror.UndefinedFile, pqerror.UndefinedObject):
		return rejected("is not installed on this server; leave it out, or ask the operator to install it")
	case is(err, pqerror.InsufficientPrivilege):
		return rejected("can only be made by a superuser of this server; leave it out, or ask the operator for it")
	case is(err, pqerror.InvalidSchemaName):
		return rejected("needs schema public, which this database no longer has, or hides from its owner: CREATE SCHEMA public, or leave the extension out")
	case is(err, pqerror.DuplicateObject, pqerror.DuplicateTable, pqerror.DuplicateFunction, pqerror.DuplicateSchema, pqerror.UniqueViolation):
		return rejected("makes an object that schema public has already: drop or rename that, or leave the extension out; the server says: " + answer(err))
	case is(err, pqerror.UntranslatableCharacter, pqerror.CharacterNotInRepertoire):
		return rejected("does not work with the database's character_set; leave it out, or use another instance with utf8")
	}
	return explain("create extension "+extension, err)
}

func dropRejected(extension string, err error) error {
	switch {
	case is(err, pqerror.DependentObjectsStillExist):
		return services.Rejected("parameters.extensions: %q is in use in the database; drop what uses it first, or keep it in the list", extension)
	case is(err, pqerror.InsufficientPrivilege):
		return services.Rejected("parameters.extensions: %q does not belong to the database's owner; drop it with the binding that made it, or keep it in the list", extension)
	}
	return explain("drop extension "+extension, err)
}
