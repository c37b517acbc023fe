package smb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/cloudsoda/go-smb2"

	"github.com/chandler-broker/chandler/services"
)

// server is host:port of an SMB server.
type server string

// answers asks the server for its dialect, which needs no session ([MS-SMB2] 2.2.3).
func (s server) answers(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", string(s))
	if err != nil {
		return fmt.Errorf("samba does not answer: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answer := make([]byte, len(protocolID)+4)
	if _, err = conn.Write(negotiate()); err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil {
		return fmt.Errorf("samba at %s does not answer: %w", s, err)
	}
	if !bytes.Equal(answer[4:], protocolID) {
		return fmt.Errorf("the reply from %s did not come from an SMB server", s)
	}
	return nil
}

// protocolID begins every message of the protocol.
var protocolID = []byte{0xfe, 'S', 'M', 'B'}

// negotiate is a request to negotiate the dialects 3.0 and 3.0.2.
func negotiate() []byte {
	const header, body, dialects = 64, 36, 2
	message := make([]byte, 4+header+body+2*dialects)
	binary.BigEndian.PutUint32(message, header+body+2*dialects)
	h, b := message[4:4+header], message[4+header:]
	copy(h, protocolID)
	binary.LittleEndian.PutUint16(h[4:], header)
	binary.LittleEndian.PutUint16(h[14:], 1) // credits asked for
	binary.LittleEndian.PutUint16(b, body)
	binary.LittleEndian.PutUint16(b[2:], dialects)
	binary.LittleEndian.PutUint16(b[4:], 1)    // signing enabled
	binary.LittleEndian.PutUint32(b[8:], 0x40) // encryption is spoken
	binary.LittleEndian.PutUint16(b[36:], 0x0300)
	binary.LittleEndian.PutUint16(b[38:], 0x0302)
	return message
}

// admits logs in. A *smb2.ResponseError says that the server refuses the user.
func (s server) admits(ctx context.Context, user string, password services.Secret) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", string(s))
	if err != nil {
		return fmt.Errorf("samba does not answer: %w", err)
	}
	defer conn.Close()
	_, err = login(ctx, conn, string(s), user, password.Reveal())
	return err
}

// login opens a session. address is what the client names the server.
func login(ctx context.Context, conn net.Conn, address, user, password string) (*smb2.Session, error) {
	dialer := smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: user, Password: password}}
	s, err := dialer.DialConn(ctx, conn, address)
	if err != nil {
		return nil, fmt.Errorf("log in as %s: %w", user, err)
	}
	return s, nil
}

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
	s, err := login(ctx, conn, address, text("username"), text("password"))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
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
