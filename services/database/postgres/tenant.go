package postgres

import (
	"context"
	"fmt"
)

// inside runs work in another database, in a session that ends with it. The
// administrator is let in first, because a tenant may have taken that right
// away.
func (b *backend) inside(ctx context.Context, s *session, database string, work func(*session) error) error {
	if err := b.admit(ctx, s, database); err != nil {
		return err
	}
	t, end, err := b.tenant(ctx, database)
	if _, ours := b.names.instanceOf(database); ours && is(err, tooManyConnections) {
		t, end, err = b.squeezeIn(ctx, s, database)
	}
	if err != nil {
		return explain("connect to database "+database, err)
	}
	defer end()
	return work(t)
}

// admit gives the administrator the right to connect to a tenant's database.
func (b *backend) admit(ctx context.Context, s *session, database string) error {
	if _, ours := b.names.instanceOf(database); !ours {
		return nil
	}
	owner := database + "_owner"
	return explain("get access to database "+database, s.transaction(ctx,
		join(owner), "GRANT CONNECT ON DATABASE "+ident(database)+" TO CURRENT_USER", leave(owner)))
}

// squeezeIn connects to a database whose tenants hold all the connections that
// it allows, by lifting the limit for that moment.
func (b *backend) squeezeIn(ctx context.Context, s *session, database string) (*session, func(), error) {
	st, err := b.again(ctx, s, names{database: database}, "", databasePart)
	if err != nil {
		return nil, nil, err
	}
	if st.Database == nil {
		return nil, nil, fmt.Errorf("database %s was removed meanwhile", database)
	}
	if err := s.transaction(ctx, limitConnections(database, -1)...); err != nil {
		return nil, nil, err
	}
	t, end, err := b.tenant(ctx, database)
	if limitErr := s.transaction(ctx, limitConnections(database, st.Database.Limit)...); err == nil && limitErr != nil {
		end()
		err = limitErr
	}
	return t, end, err
}

func limitConnections(database string, limit int) []string {
	owner := database + "_owner"
	return []string{
		join(owner),
		fmt.Sprintf("ALTER DATABASE %s WITH CONNECTION LIMIT %d", ident(database), limit),
		leave(owner),
	}
}
