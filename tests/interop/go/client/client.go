// Command client makes the calls of one case, and prints what comes of them:
//
//	client CASE ADDRESS [ARGUMENT…]
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/credentials/oauth"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	accountv1 "interop/go/gen/account/v1"
	chatv1 "interop/go/gen/chat/v1"
	hellov1 "interop/go/gen/hello/v1"
	messagev1 "interop/go/gen/message/v1"
	orderv1 "interop/go/gen/order/v1"
	personv1 "interop/go/gen/person/v1"
	tillv1 "interop/go/gen/till/v1"
)

// Every call ends after 10 s, or at the deadline of its context if that is earlier.
const serviceConfig = `{"methodConfig": [{"name": [{}], "timeout": "10s"}]}`

func main() {
	log.SetFlags(0)
	ctx := context.Background()
	arg := func(i int) string {
		if i >= len(os.Args) {
			log.Fatal("usage: client CASE ADDRESS [ARGUMENT…]")
		}
		return os.Args[i]
	}
	address := arg(2)
	conn := dial(address, insecure.NewCredentials()) // it connects at the first call
	defer conn.Close()

	switch name := arg(1); name {
	case "hello":
		hello(ctx, hellov1.NewGreeterServiceClient(conn))
	case "mailbox":
		mailbox(ctx, messagev1.NewMessageServiceClient(conn))
	case "chat":
		chat(ctx, chatv1.NewChatServiceClient(conn))
	case "metadata":
		till(ctx, tillv1.NewTillServiceClient(conn))
	case "person":
		person(ctx, personv1.NewPersonServiceClient(conn))
	case "deadline":
		deadline(ctx, orderv1.NewOrderServiceClient(conn))
	case "tls":
		overTLS(ctx, address, arg(3), arg(4), arg(5), arg(6))
	case "token":
		token(ctx, address, arg(3), arg(4))
	default:
		log.Fatalf("there is no case %q", name)
	}
}

// ANCHOR: hello
func hello(ctx context.Context, client hellov1.GreeterServiceClient) {
	for _, name := range []string{"Ferris", "世界"} {
		response := must(client.SayHello(ctx, &hellov1.SayHelloRequest{Name: name}))
		fmt.Println(response.GetMessage())
	}
	_, err := client.SayHello(ctx, &hellov1.SayHelloRequest{})
	printFailed(err)
}

// ANCHOR_END: hello

func mailbox(ctx context.Context, client messagev1.MessageServiceClient) {
	send := func(to string, contents ...string) *messagev1.SendMessagesResponse {
		var requests []*messagev1.SendMessagesRequest
		for _, content := range contents {
			message := &messagev1.Message{From: "jack", To: to, Content: content}
			requests = append(requests, &messagev1.SendMessagesRequest{Message: message})
		}
		return must(sendAll(must(client.SendMessages(ctx)), requests...))
	}
	acknowledge := func(user string, through uint64) error {
		_, err := client.AcknowledgeMessages(ctx, &messagev1.AcknowledgeMessagesRequest{User: user, Through: through})
		return err
	}

	fmt.Println("taken", send("mike", "一", "二", "三").GetTaken())
	receiving, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := must(client.ReceiveMessages(receiving, &messagev1.ReceiveMessagesRequest{User: "mike"}))
	var first, last uint64
	for i := range 3 {
		response := must(stream.Recv())
		last = response.GetNumber()
		if i == 0 {
			first = last // the server's numbers begin anywhere: we count from one
		}
		message := response.GetMessage()
		fmt.Printf("%d %s: %s\n", last-first+1, message.GetFrom(), message.GetContent())
	}
	cancel()
	var err error
	for err == nil {
		_, err = stream.Recv()
	}
	fmt.Println(codeName(err))

	check(acknowledge("mike", last))
	fmt.Println("acknowledged", last-first+1)
	// 李雷 has not received what is acknowledged here.
	send("李雷", "四")
	printFailed(acknowledge("李雷", math.MaxUint64))
}

// ANCHOR: chat
func chat(ctx context.Context, client chatv1.ChatServiceClient) {
	jack := join(ctx, client, "jack", "mike")
	jack.hear()
	mike := join(ctx, client, "mike", "jack")
	mike.hear()
	jack.hear()
	jack.say("你好")
	mike.hear()
	mike.say("再见")
	jack.hear()
	mike.leave()
	jack.hear()
	jack.leave()

	withoutNames := must(client.Chat(ctx))
	_, err := withoutNames.Recv()
	printFailed(err)
}

// talker is one person's side of a chat.
type talker struct {
	name   string
	stream grpc.BidiStreamingClient[chatv1.ChatRequest, chatv1.ChatResponse]
}

func join(ctx context.Context, client chatv1.ChatServiceClient, from, to string) talker {
	ctx = metadata.AppendToOutgoingContext(ctx, "from", from, "to", to)
	return talker{from, must(client.Chat(ctx))}
}

func (t talker) say(content string) {
	check(t.stream.Send(&chatv1.ChatRequest{Content: content}))
}

func (t talker) hear() {
	response := must(t.stream.Recv())
	switch event := response.GetEvent().(type) {
	case *chatv1.ChatResponse_Message:
		fmt.Printf("%s: %s says %s\n", t.name, event.Message.GetFrom(), event.Message.GetContent())
	case *chatv1.ChatResponse_Presence:
		where := "not here"
		if event.Presence.GetHere() {
			where = "here"
		}
		fmt.Printf("%s: %s is %s\n", t.name, event.Presence.GetName(), where)
	default:
		log.Fatalf("%s hears an unknown event: %v", t.name, response)
	}
}

func (t talker) leave() {
	check(t.stream.CloseSend())
	if response, err := t.stream.Recv(); err != io.EOF {
		log.Fatalf("%s has left, and hears: %v, %v", t.name, response, err)
	}
	fmt.Printf("%s: OK\n", t.name)
}

// ANCHOR_END: chat

func till(ctx context.Context, client tillv1.TillServiceClient) {
	ctx = metadata.AppendToOutgoingContext(ctx,
		"name-bin", "李雷", // any bytes: the key ends in -bin
		"voucher", "SPRING",
		"voucher", "NEW")
	var header, trailer metadata.MD
	price := must(client.GetPrice(ctx, &tillv1.GetPriceRequest{Article: "bread"},
		grpc.Header(&header), grpc.Trailer(&trailer)))
	printValues(header, "vouchers", "greeting-bin")
	fmt.Println(price.GetCents(), "cents")
	printValues(trailer, "articles", "cents")

	prices := must(client.ListPrices(ctx, &tillv1.ListPricesRequest{}))
	for {
		price, err := prices.Recv()
		if err == io.EOF {
			break
		}
		check(err)
		fmt.Println(price.GetArticle(), price.GetCents())
	}
	printValues(prices.Trailer(), "articles")
}

func printValues(md metadata.MD, keys ...string) {
	for _, key := range keys {
		fmt.Println(key, strings.Join(md.Get(key), ", "))
	}
}

func person(ctx context.Context, client personv1.PersonServiceClient) {
	created := must(createPeople(ctx, client,
		&personv1.Person{Name: "jenny", Age: 21}, &personv1.Person{Name: "jack", Age: 18}))
	fmt.Println("created", created.GetCreated())
	jenny := must(client.GetPerson(ctx, &personv1.GetPersonRequest{Name: "jenny"})).GetPerson()
	fmt.Println(jenny.GetName(), jenny.GetAge())

	_, err := client.GetPerson(ctx, &personv1.GetPersonRequest{Name: "jeny"})
	printFailed(err)
	printDetails(err)
	_, err = createPeople(ctx, client, &personv1.Person{Age: 200})
	printFailed(err)
	printDetails(err)
}

func createPeople(ctx context.Context, client personv1.PersonServiceClient, people ...*personv1.Person) (*personv1.CreatePeopleResponse, error) {
	var requests []*personv1.CreatePeopleRequest
	for _, person := range people {
		requests = append(requests, &personv1.CreatePeopleRequest{Person: person})
	}
	return sendAll(must(client.CreatePeople(ctx)), requests...)
}

// ANCHOR: details
func printDetails(err error) {
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Println("reason", detail.GetReason(), "of", detail.GetDomain())
		case *errdetails.ResourceInfo:
			fmt.Println("no", detail.GetResourceType(), detail.GetResourceName())
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				fmt.Printf("%s: %s\n", violation.GetField(), violation.GetDescription())
			}
		case *errdetails.LocalizedMessage:
			fmt.Printf("%s: %s\n", detail.GetLocale(), detail.GetMessage())
		case *personv1.SimilarNames:
			fmt.Println("similar:", strings.Join(detail.GetNames(), ", "))
		default: // an error, if this program does not know the type
			log.Fatalf("unexpected detail: %v", detail)
		}
	}
}

// ANCHOR_END: details

func deadline(ctx context.Context, client orderv1.OrderServiceClient) {
	order := &orderv1.PlaceOrderRequest{Article: "bread", Count: 1}
	hasty, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err := client.PlaceOrder(hasty, order)
	fmt.Println(codeName(err))
	response := must(client.PlaceOrder(ctx, order))
	fmt.Println(strings.Join(response.GetHands(), ", "))
}

func overTLS(ctx context.Context, address, ca, certificate, key, otherCA string) {
	pair := must(tls.LoadX509KeyPair(certificate, key))
	response := must(helloOverTLS(ctx, address, trusting(ca, pair)))
	fmt.Println(response.GetMessage())

	_, err := helloOverTLS(ctx, address, trusting(otherCA, pair))
	fmt.Println(codeName(err))
	_, err = helloOverTLS(ctx, address, trusting(ca))
	fmt.Println(codeName(err))
}

func helloOverTLS(ctx context.Context, address string, creds credentials.TransportCredentials) (*hellov1.SayHelloResponse, error) {
	conn := dial(address, creds)
	defer conn.Close()
	return hellov1.NewGreeterServiceClient(conn).SayHello(ctx, &hellov1.SayHelloRequest{Name: "Ferris"})
}

// trusting is TLS that trusts only the authority in the file ca, and shows the
// server the certificates.
func trusting(ca string, certificates ...tls.Certificate) credentials.TransportCredentials {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(must(os.ReadFile(ca))) {
		log.Fatalf("there is no certificate in %s", ca)
	}
	return credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: certificates})
}

// ANCHOR: token
func token(ctx context.Context, address, ca, token string) {
	conn := dial(address, trusting(ca))
	defer conn.Close()
	client := accountv1.NewAccountServiceClient(conn)
	// Without TLS, a call with these credentials would fail before it is sent.
	source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
	withToken := grpc.PerRPCCredentials(oauth.TokenSource{TokenSource: source})

	balance := must(client.GetBalance(ctx, &accountv1.GetBalanceRequest{}, withToken))
	fmt.Println(balance.GetCents(), "cents")
	_, err := client.GetBalance(ctx, &accountv1.GetBalanceRequest{})
	printFailed(err)
	_, err = client.CloseAccount(ctx, &accountv1.CloseAccountRequest{}, withToken)
	printFailed(err)
}

// ANCHOR_END: token

// ANCHOR: dial
func dial(address string, creds credentials.TransportCredentials) *grpc.ClientConn {
	return must(grpc.NewClient(address,
		grpc.WithTransportCredentials(creds), grpc.WithDefaultServiceConfig(serviceConfig)))
}

// ANCHOR_END: dial

// sendAll sends the requests, and returns the response.
func sendAll[Req, Res any](stream grpc.ClientStreamingClient[Req, Res], requests ...*Req) (*Res, error) {
	for _, request := range requests {
		err := stream.Send(request)
		if err == io.EOF {
			break // the server has ended the call: CloseAndRecv says how
		}
		check(err)
	}
	return stream.CloseAndRecv()
}

func printFailed(err error) {
	fmt.Printf("%s: %s\n", codeName(err), status.Convert(err).Message())
}

// codeName is the name that the specification has for the code of a failed call.
func codeName(err error) string {
	failed, ok := status.FromError(err)
	if err == nil || !ok {
		log.Fatalf("this is no failed call: %v", err)
	}
	return code.Code(failed.Code()).String()
}

// must ends the program at an error: each failure that a case expects is printed
// instead.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
