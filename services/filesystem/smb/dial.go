package smb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/cloudsoda/go-smb2"

	"github.com/chandler-broker/chandler/services"
)

// dial implements services.Dialer: keys are files of the share.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	text := func(key string) string { s, _ := credentials[key].(string); return s }
	port, ok := credentials["port"].(float64)
	if !ok || text("host") == "" || text("share") == "" {
		return nil, errors.New("the credentials name no host, port and share")
	}
	address := net.JoinHostPort(text("host"), strconv.Itoa(int(port)))
	// The connection is ours, so that Close can end it in any case.
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	dialer := smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: text("username"), Password: text("password")}}
	s, err := dialer.DialConn(ctx, conn, address)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log in: %w", err), conn.Close())
	}
	share, err := s.WithContext(ctx).Mount(text("share"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the share: %w", err), conn.Close())
	}
	return &session{conn: conn, share: share}, nil
}

type session struct {
	conn  net.Conn
	share *smb2.Share
}

// file is the name of the file of a key, of characters that SMB allows.
func file(key string) string { return url.QueryEscape(key) }

// Write implements services.Session.
func (s *session) Write(ctx context.Context, key, value string) error {
	return s.share.WithContext(ctx).WriteFile(file(key), []byte(value), 0o660)
}

// Read implements services.Session.
func (s *session) Read(ctx context.Context, key string) (string, error) {
	content, err := s.share.WithContext(ctx).ReadFile(file(key))
	return string(content), err
}

// Ping implements services.Session.
func (s *session) Ping(ctx context.Context) error {
	_, err := s.share.WithContext(ctx).Stat(".")
	return err
}

// Close implements services.Session.
func (s *session) Close() error { return s.conn.Close() }
