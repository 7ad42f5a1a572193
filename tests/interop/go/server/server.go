// Command server greets, and lets two people talk, until Ctrl-C:
//
//	server [ADDRESS]
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	chatv1 "interop/go/gen/chat/v1"
	hellov1 "interop/go/gen/hello/v1"
)

const (
	maxNameChars    = 64
	maxRequestBytes = 4096
	maxSeats        = 10_000
	// How many events are buffered for a person who does not read them. When the
	// buffer is full, senders to that person wait.
	maxUnread = 32
	// How long leaving waits to notify a person who does not read.
	patience = 5 * time.Second
	// How long a server that is stopping waits for calls that do not end.
	drain = 5 * time.Second
)

func main() {
	address := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	stopping, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}

	// ANCHOR: server
	server := grpc.NewServer(
		grpc.MaxConcurrentStreams(100),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		// Clients ping us too, every 10 s. By default, more than one ping in 5
		// minutes is too many, and the connection is closed.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}),
	)
	hellov1.RegisterGreeterServiceServer(server, greeter{})
	chatv1.RegisterChatServiceServer(server, &chat{stopping: stopping, seats: make(map[place]*seat)})

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Println("listening on", listener.Addr())
	select {
	case err := <-served:
		log.Fatal(err)
	case <-stopping.Done():
	}
	time.AfterFunc(drain, server.Stop)
	server.GracefulStop()
	// ANCHOR_END: server
}

type greeter struct {
	hellov1.UnimplementedGreeterServiceServer
}

func (greeter) SayHello(_ context.Context, request *hellov1.SayHelloRequest) (*hellov1.SayHelloResponse, error) {
	name := request.GetName()
	if strings.TrimSpace(name) == "" {
		return nil, status.Error(codes.InvalidArgument, "name is empty: say whom to greet")
	}
	if chars := utf8.RuneCountInString(name); chars > maxNameChars {
		return nil, status.Errorf(codes.InvalidArgument, "name has %d characters: send at most %d", chars, maxNameChars)
	}
	return &hellov1.SayHelloResponse{Message: fmt.Sprintf("Hello, %s!", name)}, nil
}

type chatStream = grpc.BidiStreamingServer[chatv1.ChatRequest, chatv1.ChatResponse]

type chat struct {
	chatv1.UnimplementedChatServiceServer
	stopping context.Context
	mu       sync.Mutex
	seats    map[place]*seat
}

// place is one side of a conversation.
type place struct{ from, to string }

func (p place) opposite() place { return place{p.to, p.from} }

// seat is a place that somebody has.
type seat struct {
	// Done when they have left, or somebody else has taken the place.
	ctx context.Context
	end context.CancelCauseFunc
	// What they are to hear; nil if the other one came or left.
	ear chan *chatv1.Message
}

func (c *chat) Chat(stream chatStream) error {
	here, err := placeOf(stream.Context())
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	me := &seat{ctx, end, make(chan *chatv1.Message, maxUnread)}
	first, err := c.sit(here, me)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { c.leave(here, me) })
	defer context.AfterFunc(c.stopping, func() {
		end(status.Error(codes.Unavailable, "the server is stopping"))
	})()
	// At once: the client may wait for it before it sends anything.
	if err := stream.Send(first); err != nil {
		return err
	}

	// Ends when the call does, since Recv fails then.
	go func() { end(c.passOn(here, me, stream)) }()
	for {
		select {
		case message := <-me.ear:
			if err := stream.Send(c.event(here, message)); err != nil {
				return err
			}
		case <-ctx.Done():
			// What was said before the end is heard.
			for len(me.ear) > 0 {
				if err := stream.Send(c.event(here, <-me.ear)); err != nil {
					return err
				}
			}
			if err := context.Cause(ctx); err != io.EOF {
				return err
			}
			return nil
		}
	}
}

// passOn passes on what a person says. It returns io.EOF when they leave.
func (c *chat) passOn(here place, me *seat, stream chatStream) error {
	there := here.opposite()
	c.tell(me.ctx, there, nil)
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		// grpc.MaxRecvMsgSize would hold for every service of the server.
		if size := proto.Size(request); size > maxRequestBytes {
			return status.Errorf(codes.OutOfRange, "the request has %d bytes: send at most %d", size, maxRequestBytes)
		}
		message := &chatv1.Message{From: here.from, Content: request.GetContent()}
		if !c.tell(me.ctx, there, message) {
			c.tell(me.ctx, here, nil)
		}
	}
}

// tell waits until the person at the place has room for the message. It returns
// whether the place was taken.
func (c *chat) tell(ctx context.Context, to place, message *chatv1.Message) bool {
	for {
		c.mu.Lock()
		other := c.at(to)
		c.mu.Unlock()
		if other == nil {
			return false
		}
		select {
		case other.ear <- message:
			return true
		case <-other.ctx.Done(): // look again who is at the place
		case <-ctx.Done():
			return false
		}
	}
}

// event makes a response of what a person is to hear. Presence is looked up now
// instead of when it changed: of several events, the last one is right.
func (c *chat) event(here place, message *chatv1.Message) *chatv1.ChatResponse {
	if message != nil {
		return &chatv1.ChatResponse{Event: &chatv1.ChatResponse_Message{Message: message}}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.presence(here.opposite())
}

// sit takes a place, and returns the first response. The call that had the place
// has lost it.
func (c *chat) sit(here place, me *seat) (*chatv1.ChatResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.seats[here]
	if before != nil {
		before.end(status.Error(codes.Aborted, "a newer call has the same names"))
	} else if len(c.seats) >= maxSeats {
		return nil, status.Errorf(codes.ResourceExhausted, "there are %d people here: try again later", maxSeats)
	}
	c.seats[here] = me
	return c.presence(here.opposite()), nil
}

// leave gives a place back, unless somebody else has it, and tells the other one.
func (c *chat) leave(here place, me *seat) {
	c.mu.Lock()
	if c.seats[here] == me {
		delete(c.seats, here)
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.tell(ctx, here.opposite(), nil)
}

// at returns who has the place, or nil. The caller holds the lock.
func (c *chat) at(p place) *seat {
	if s := c.seats[p]; s != nil && s.ctx.Err() == nil {
		return s
	}
	return nil
}

// presence says whether anybody has the place. The caller holds the lock.
func (c *chat) presence(p place) *chatv1.ChatResponse {
	presence := &chatv1.Presence{Name: p.from, Here: c.at(p) != nil}
	return &chatv1.ChatResponse{Event: &chatv1.ChatResponse_Presence{Presence: presence}}
}

// placeOf reads the metadata of a call.
func placeOf(ctx context.Context) (place, error) {
	from, err := name(ctx, "from")
	if err != nil {
		return place{}, err
	}
	to, err := name(ctx, "to")
	if err != nil {
		return place{}, err
	}
	if from == to {
		return place{}, status.Error(codes.InvalidArgument, "metadata `from` and `to` are the same: name two people")
	}
	return place{from, to}, nil
}

func name(ctx context.Context, key string) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, key)
	if len(values) == 0 {
		return "", status.Errorf(codes.InvalidArgument, "metadata `%s` is missing: send a name", key)
	}
	name := values[0]
	blankOrNotASCII := func(r rune) bool { return r <= ' ' || r > '~' }
	if name == "" || len(name) > maxNameChars || strings.ContainsFunc(name, blankOrNotASCII) {
		return "", status.Errorf(codes.InvalidArgument,
			"metadata `%s` is no name: send 1 to %d printable characters of ASCII without blanks", key, maxNameChars)
	}
	return name, nil
}
