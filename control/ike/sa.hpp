// One IKE SA: its keys, its message windows, and the exchanges on it. Each exchange has its own file; what
// they share (sequence, retransmission, protection) is in sa.cpp.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/ike/auth_methods.hpp"
#include "control/ike/core.hpp"
#include "control/ike/keys.hpp"
#include "control/ike/message.hpp"
#include "control/ike/proposal_choice.hpp"
#include "control/ike/selectors.hpp"
#include "control/ike/timers.hpp"

namespace espgate::ike {

using Payloads = std::vector<Payload>;

class IkeSa {
 public:
  enum class State : std::uint8_t {
    init_sent,
    init_answered,
    auth_sent,
    established,
    rekeyed,   // a successor has its children; waits for its delete
    deleting,  // our delete is under way, the children are gone
    gone,      // remembered only to answer retransmitted requests
  };
  enum class Role : std::uint8_t { initiator, responder };

  IkeSa(Core& core, Role role, std::uint64_t our_spi, const Endpoint& local, const Endpoint& remote);
  ~IkeSa();
  IkeSa(const IkeSa&) = delete;
  IkeSa& operator=(const IkeSa&) = delete;

  // IKE_SA_INIT (exchange_init.cpp)
  static void attempt(Core& core, TunnelId tunnel);  // a new one, of ours
  void begin(TunnelId tunnel);
  void init_response(const Header& header, Bytes datagram);
  struct InitRequest {
    const Header& header;
    Bytes datagram;
    const Payloads& payloads;
    std::string key;  // of Core::init_requests
  };
  void answer_init(const InitRequest& request, const IkeChoice& choice, std::vector<TunnelId> candidates);
  void init_again();  // the request came again: so does the answer

  // Everything after it. Checks who, what and in which order before anything changes.
  void received(const Header& header, Bytes datagram, const Endpoint& local, const Endpoint& remote);
  void unreachable(const Reason& reason);    // somebody says that nothing arrives at the peer
  void other_version(const Reason& reason);  // somebody says that the peer speaks another IKE
  void unprotected_hint();  // somebody says that the peer does not know this SA: ask the peer

  // What the daemon asks for.
  void create_child(TunnelId tunnel);       // of those that share this IKE SA
  void heard_from(const Endpoint& remote);  // authentic ESP on a child came from there
  void rekey_child(ChildSa& child);
  void rekey_ike();
  void reauthenticate();
  void child_expired(ChildSa& child, const Reason& reason);
  void delete_child(ChildSa& child, const Reason& reason);     // out of the dataplane now, the peer is told
  void delete_ike(const Reason& reason, NotifyType why = {});  // likewise, all; the peer is told why
  void delete_ike_once();                                      // shutdown: one message, no waiting
  void close(const Reason& reason);                            // without telling the peer
  void abandon();                                              // an attempt, without a word

  [[nodiscard]] std::uint64_t our_spi() const {
    return role_ == Role::initiator ? spi_initiator_ : spi_responder_;
  }
  [[nodiscard]] TableId table() const { return local_.table; }
  [[nodiscard]] std::uint64_t peer_spi() const {
    return role_ == Role::initiator ? spi_responder_ : spi_initiator_;
  }
  [[nodiscard]] std::uint64_t spi_initiator() const { return spi_initiator_; }
  [[nodiscard]] Role role() const { return role_; }
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool is_attempt() const { return state_ == State::init_sent || state_ == State::auth_sent; }
  [[nodiscard]] bool is_closing() const {
    return state_ == State::deleting || state_ == State::gone || end_after_answer_.has_value();
  }
  [[nodiscard]] bool is_redundant() const { return redundant_.pending(); }  // another is to take its place
  [[nodiscard]] bool child_under_way(TunnelId tunnel) const;
  [[nodiscard]] bool has_child_of(TunnelId tunnel) const;
  [[nodiscard]] Time established_at() const { return established_; }
  [[nodiscard]] std::optional<TunnelId> tunnel() const { return tunnel_; }
  [[nodiscard]] IkeInfo info() const;

  std::vector<ChildSa*> children;  // kept by Core

 private:
  friend class Core;

  // One thing to do in an exchange of ours. The window is one: they wait in line.
  struct Task {
    enum class Kind : std::uint8_t {
      init,
      auth,
      dpd,
      create_child,
      rekey_child,
      delete_child,
      rekey_ike,
      delete_ike
    };
    Kind kind{};
    std::uint32_t spi{0};     // inbound SPI of the child concerned
    NotifyType why{};         // told with the delete of the IKE SA
    crypto::DhGroup group{};  // the group that the peer asked for; none: ours
    unsigned attempts{0};     // INVALID_KE_PAYLOAD answers so far
    TunnelId tunnel{0};       // of the child to create
  };
  struct Request {
    Task task;
    Exchange exchange{};
    std::uint32_t id{0};
    std::vector<ByteVector> datagrams;
    unsigned sent{0};
    std::chrono::milliseconds wait{};  // for the answer, before it is sent again
    Time first_sent{};
  };
  // What we offered in a CREATE_CHILD_SA request under way (a child's, or in IKE_AUTH).
  struct ChildOffer {
    TunnelId tunnel{0};
    SaPayload offer;
    std::uint32_t spi{0};
    std::uint32_t replaces{0};
    ByteVector nonce;
    std::unique_ptr<crypto::DhKey> dh;
    Selectors local, remote;
    bool transport{false};
    ByteVector rival_nonce;  // the lower nonce of the peer's rekey of the same child; empty: none
    std::uint32_t rival_spi{0};
  };
  struct IkeOffer {
    SaPayload offer;
    std::uint64_t spi{0};
    ByteVector nonce;
    std::unique_ptr<crypto::DhKey> dh;
    ByteVector rival_nonce;
    std::uint64_t rival_spi{0};  // our SPI of the IKE SA that the peer's rekey made
  };

  // sa.cpp
  // Of the IKE SA; and of the child SAs, which may be other tunnels'.
  [[nodiscard]] const conf::Tunnel& config() const { return *core_.tunnel(*tunnel_).config; }
  [[nodiscard]] const conf::Tunnel& config(TunnelId child) const { return *core_.tunnel(child).config; }
  [[nodiscard]] Header header(Exchange exchange, bool response, std::uint32_t id) const;
  void set_keys(const IkeAlgorithms& algorithms, IkeKeys keys);
  void enqueue(Task task);
  void next_task();
  bool begin_task(const Task& task);
  void send_request(const Task& task, Exchange exchange, const Payloads& payloads);
  void transmit(std::vector<ByteVector> datagrams, const Task& task, Exchange exchange, std::uint32_t id);
  void arm_retransmission();
  void retransmit();
  void give_up();
  void finish_request();
  void received_request(const Header& header, Bytes datagram, const Endpoint& local, const Endpoint& remote);
  void repeated_request(const Header& header, Bytes datagram, const Endpoint& local, const Endpoint& remote);
  void received_response(const Header& header, Bytes datagram);
  [[nodiscard]] std::optional<Result<Payloads>> open(const Header& header, Bytes datagram,
                                                     Reassembly& reassembly);
  [[nodiscard]] bool awaits_peer(const ChildSa& child) const;
  void handle_request(const Header& header, const Result<Payloads>& content, const Endpoint& local,
                      const Endpoint& remote);
  [[nodiscard]] Payloads dispatch_request(const Header& header, const Payloads& payloads);
  void dispatch_response(const Request& request, const Payloads& payloads);
  void malformed_response(const Request& request, const Refusal& refusal);
  void respond(const Header& request, const Payloads& payloads, std::optional<TunnelId> about,
               const Endpoint& local, const Endpoint& remote);
  void send_response(const Endpoint& local, const Endpoint& remote);
  void follow(const Endpoint& local, const Endpoint& remote);
  [[nodiscard]] bool may_follow() const;
  void move_to(const Endpoint& remote);
  void linger();
  void abandon_offers();
  void put_back(const Task& task);
  void drop_tasks(const Reason& reason);
  void after_answer();
  void end_if_fatal(const Payloads& answer, const std::string& why);
  [[nodiscard]] std::size_t datagram_limit() const;
  void log(const std::string& line) const { core_.log(tunnel_, line); }
  [[nodiscard]] std::optional<TunnelId> subject() const;  // the tunnel, as far as it can be told
  [[nodiscard]] std::optional<TunnelId> concerned(const Header& request, const Payloads& payloads) const;
  [[nodiscard]] std::optional<TunnelId> concerned(const Task& task) const;
  [[nodiscard]] std::string peer() const;  // "192.0.2.2:500", for the log

  // exchange_init.cpp
  void send_init();
  void init_error(const NotifyPayload& error);
  void init_refused(Reason reason);
  void retry_group(const NotifyPayload& notify);
  void init_accept(const Header& header, Bytes datagram, const Payloads& payloads);
  void note_extensions(const Payloads& payloads, const Header& header);

  // exchange_auth.cpp
  void send_auth();
  void auth_response(const Payloads& payloads);
  void attempt_over(const Reason& reason);
  void fail_waiting(const Reason& reason);
  [[nodiscard]] Payloads answer_auth(const Payloads& payloads);
  [[nodiscard]] Payloads authenticate_peer(const Payloads& payloads);
  [[nodiscard]] bool take_slot(const IdPayload& id);
  [[nodiscard]] Payloads no_slot(const IdPayload& id);
  [[nodiscard]] Payloads refuse_auth(const Reason& reason);
  [[nodiscard]] std::optional<TunnelId> match_tunnel(const IdPayload& peer, const IdPayload* us);
  [[nodiscard]] Payloads identity_refusal(const IdPayload& peer, const IdPayload* us);
  [[nodiscard]] Reason refused_us() const;
  void become_established();
  void drop_older();  // INITIAL_CONTACT
  [[nodiscard]] bool first_contact() const;

  // first_child.cpp
  [[nodiscard]] bool begins_childless() const;
  [[nodiscard]] bool offer_first_child(Payloads& payloads);
  void first_child_answered(const Payloads& payloads);
  [[nodiscard]] static bool child_payloads_whole(const Payloads& payloads);
  void answer_first_child(const Payloads& payloads, Payloads& answer);
  void create_other_children();
  void verify(ChildSa& first);

  // reauth.cpp
  void arm_reauth();
  void tell_lifetime(Payloads& to) const;
  void follow_lifetime(const NotifyPayload& told);
  void set_reauth(Time at);
  void renew_before(Time end);

  // authenticate.cpp
  [[nodiscard]] ByteVector our_octets(const IdPayload& us, const IkeKeys& keys) const;
  [[nodiscard]] ByteVector peer_octets(const IdPayload& peer, const IkeKeys& keys) const;
  [[nodiscard]] crypto::SecretBytes shared_key_auth(const ByteVector& octets, ByteVector next);
  [[nodiscard]] std::variant<AuthPayload, Reason> make_auth(const IdPayload& id, const IkeKeys& keys);
  void add_certificates(Payloads& to) const;
  void request_certificates(const std::vector<TunnelId>& tunnels, Payloads& to) const;
  void note_certificate_requests(const Payloads& payloads);
  [[nodiscard]] std::optional<Reason> check_peer_auth(const Payloads& payloads, const IdPayload& id);
  [[nodiscard]] std::optional<Reason> judge_peer(const Payloads& payloads, const IdPayload& id);
  void postpone_auth(const std::string& why);
  // How the peer has shown who it is, for the log, or why it has not.
  using Shown = std::variant<std::string, Reason>;
  [[nodiscard]] Shown check_auth(const Payloads& payloads, const AuthPayload& auth, const IdPayload& id,
                                 const IkeKeys& keys);
  [[nodiscard]] Shown check_signature(const Payloads& payloads, const AuthPayload& auth, const IdPayload& id,
                                      Bytes octets) const;
  using PeerKey = std::variant<std::shared_ptr<const crypto::PublicKey>, Reason>;
  [[nodiscard]] PeerKey certified_key(const Payloads& payloads, const IdPayload& id) const;
  [[nodiscard]] PeerKey configured_key(const Payloads& payloads, const IdPayload& id) const;
  [[nodiscard]] SignaturePolicy signature_policy() const;

  // authenticate_ppk.cpp
  [[nodiscard]] bool requires_ppk() const;
  [[nodiscard]] const conf::Ppk& ppk() const;
  [[nodiscard]] std::optional<Reason> choose_ppk();
  [[nodiscard]] std::optional<Reason> refuse_without_ppk(const Payloads& payloads) const;
  void begin_ppk(const Payloads& payloads);
  void mix_ppk();
  void go_without_ppk();
  [[nodiscard]] std::optional<Reason> name_ppk(const IdPayload& us, Payloads& to);
  [[nodiscard]] std::optional<Reason> settle_ppk(const Payloads& payloads);
  [[nodiscard]] bool answers_ppk(const Payloads& request);
  [[nodiscard]] std::optional<Reason> agree_on_ppk(const Payloads& payloads, const IdPayload& id);
  [[nodiscard]] AuthPayload claimed_auth(const Payloads& payloads, const AuthPayload& auth) const;
  [[nodiscard]] Reason blame_ppk(const Payloads& payloads, const AuthPayload& auth, const IdPayload& id,
                                 const Reason& refused);
  void gave_up_half_way();

  // duplicates.cpp
  void settle(ChildSa& first, bool answered);
  [[nodiscard]] bool yields_to(const IkeSa& other) const;
  void set_redundant(Time at);
  void close_if_redundant();
  [[nodiscard]] bool carries_alone() const;

  // exchange_child.cpp
  struct ChildAnswer {
    Payloads payloads;
    ChildSa* child{nullptr};
    std::optional<Reason> refused;
  };
  struct ChildRequest {
    TunnelId tunnel;
    const SaPayload* sa;
    const TsPayload* tsi;
    const TsPayload* tsr;
    NoncePair nonces;
    const KePayload* ke;  // CREATE_CHILD_SA
    bool with_groups;
    bool transport;  // USE_TRANSPORT_MODE
    bool padding;    // no ESP_TFC_PADDING_NOT_SUPPORTED
    bool rekeys;     // what there is
  };
  struct ChildTerms {
    crypto::DhGroup group{};
    Selectors local, remote;
    crypto::SecretBytes secret;  // empty without PFS
    std::unique_ptr<crypto::DhKey> dh;
  };
  [[nodiscard]] bool begin_child(const Task& task);
  void child_response(const Request& request, const Payloads& payloads);
  void child_error(const Request& request, const NotifyPayload& error);
  void child_accept(const Payloads& payloads);
  [[nodiscard]] bool accepts_padding(TunnelId tunnel, const Payloads& payloads);
  [[nodiscard]] bool transport_mode(TunnelId tunnel) const;
  [[nodiscard]] std::unique_ptr<ChildOffer> make_offer(TunnelId tunnel, std::uint32_t spi,
                                                       bool with_groups) const;
  void keep_selectors(const ChildSa& old, ChildOffer& offer) const;
  void release_offer(const ChildOffer& offer, const Payloads& answer);
  [[nodiscard]] Reason refusal(const NotifyPayload& error, const ChildOffer& offer) const;
  [[nodiscard]] static Reason rekey_refusal(Reason reason);
  void child_rejected(TunnelId tunnel, std::uint32_t replaces, const Reason& reason);
  [[nodiscard]] std::variant<ChildSa*, Reason> install_answer(const Payloads& payloads,
                                                              const NoncePair& nonces,
                                                              const ChildOffer& offer);
  void took_over(ChildSa& fresh, ChildOffer& offer, Bytes lower_nonce);
  void leave_to_peer(ChildSa& child);
  void leave_others(const ChildSa& fresh);
  [[nodiscard]] ChildInstall make_install(TunnelId tunnel, const EspChoice& choice, std::uint32_t inbound_spi,
                                          ChildKeys keys, bool we_began) const;
  [[nodiscard]] ChildSa* child_by_outbound(std::uint32_t spi) const;
  void retry_rekey(ChildSa& child, std::chrono::milliseconds after);
  void lifetime_over(ChildSa& child);
  [[nodiscard]] bool needs_ike_auth(TunnelId tunnel, const Reason& reason) const;

  // answer_child.cpp
  [[nodiscard]] TunnelId tunnel_for(const TsPayload& tsi, const TsPayload& tsr) const;
  [[nodiscard]] std::string accepted_selectors(TunnelId tunnel) const;
  [[nodiscard]] Selectors part_of_range(const Selectors& offered, TunnelId tunnel) const;
  [[nodiscard]] std::optional<ChildAnswer> refuse_claimed(const ChildRequest& request,
                                                          const ChildTerms& terms) const;
  [[nodiscard]] std::optional<ChildAnswer> refuse_beside(const ChildRequest& request,
                                                         const ChildTerms& terms) const;
  [[nodiscard]] static ChildAnswer refused(NotifyType type, Failure failure, std::string line,
                                           ByteVector data = {});
  [[nodiscard]] std::variant<ChildTerms, ChildAnswer> agree_on_child(const ChildRequest& request) const;
  [[nodiscard]] static std::optional<ChildAnswer> exchange_keys(const ChildRequest& request,
                                                                ChildTerms& terms);
  [[nodiscard]] ChildAnswer answer_child(const ChildRequest& request, Bytes our_nonce);
  [[nodiscard]] Payloads answer_create_child(const Payloads& payloads);
  [[nodiscard]] Payloads answer_child_exchange(const Payloads& payloads, const Bytes& peer_nonce);
  void begin_sending(ChildSa& child, ChildSa* old, Bytes lower_nonce);

  // exchange_rekey.cpp
  [[nodiscard]] bool begin_ike_rekey(const Task& task);
  [[nodiscard]] Payloads answer_ike_rekey(const Payloads& payloads, const SaPayload& offered, Bytes nonce);
  void ike_rekey_response(const Request& request, const Payloads& payloads);
  void ike_rekey_error(const Request& request, const NotifyPayload& error, const IkeOffer& offer);
  [[nodiscard]] IkeSa* rival_of(const IkeOffer& offer) const;
  IkeSa& successor(Role role, SpiPair spis, const IkeChoice& choice, IkeKeys keys);
  void chosen_by_peer(const Payloads& request);
  void hand_over_to(IkeSa& heir);
  void retry_ike_rekey(std::chrono::milliseconds after);
  void arm_lifetime();
  [[nodiscard]] bool is_rekeying() const;
  void lifetime_over();

  // exchange_info.cpp
  [[nodiscard]] Payloads answer_informational(const Payloads& payloads);
  void peer_deletes_children(const DeletePayload& request, Payloads& answer);
  void peer_deletes_ike();
  void informational_response(const Request& request);
  void arm_dpd();
  void check_peer();
  void temporary_failure(Time expires);
  void retire();
  void begin_delete(NotifyType why);
  [[nodiscard]] Core::Inbound end_of_inbound(const ChildSa& child) const;
  [[nodiscard]] Time last_heard() const;

  Core& core_;
  Role role_;
  std::uint64_t spi_initiator_{0}, spi_responder_{0};
  Endpoint local_, remote_;
  State state_;
  std::optional<TunnelId> tunnel_;
  std::vector<TunnelId> candidates_;  // responder: who it may be, before IKE_AUTH tells
  IkeAlgorithms algorithms_;
  IkeKeys keys_;
  std::unique_ptr<crypto::IkeCipher> in_, out_;
  NatFinding nat_;
  bool peer_fragments_{false};
  bool peer_childless_{false};
  std::optional<HalfOpen::Place> half_open_;
  std::string init_key_;
  std::string software_;  // the peer's, as its Vendor IDs have it

  // IKE_SA_INIT's leftovers, until authenticated.
  ByteVector nonce_, peer_nonce_;
  std::unique_ptr<crypto::DhKey> dh_;
  SaPayload offer_;
  ByteVector cookie_;
  ByteVector init_sent_, init_received_;  // the two messages whole: AUTH signs them
  SignatureHashes peer_hashes_;
  bool peer_wants_raw_key_{false}, peer_wants_status_{false};
  bool peer_has_ppk_{false}, ppk_negotiated_{false};  // responder: it said so; we both did
  std::unique_ptr<IkeKeys> without_ppk_;              // what keys_ was before origin_.ppk was in it
  struct Foreseen {
    ByteVector octets;
    crypto::SecretBytes auth;
  };
  std::unique_ptr<Foreseen> foreseen_;  // AUTH by the pre-shared key, before it is wanted
  unsigned init_retries_{0};
  std::optional<Reason> init_problem_;  // an unauthenticated error: told when nothing better comes

  // Our requests.
  std::uint32_t next_id_{0};
  std::optional<Request> request_;
  std::list<Task> tasks_;  // takes no room while there are none, unlike a deque
  std::unique_ptr<ChildOffer> child_offer_;
  std::unique_ptr<IkeOffer> ike_offer_;
  std::uint64_t rival_to_{
      0};  // our SPI of the IKE SA that both sides rekeyed; the peer's rekey made this one
  Timer retransmission_;
  Reassembly responses_;

  // The peer's requests.
  std::uint32_t expected_id_{0};
  std::vector<ByteVector> last_response_;
  std::optional<std::uint32_t> responded_id_;
  Reassembly requests_;
  std::optional<Reason> end_after_answer_;
  std::optional<std::uint64_t> wake_after_answer_;

  Timer life_;  // half-open or lingering: the end
  Timer rekey_, expire_, dpd_, redundant_, reauth_;
  Time established_{}, rekey_at_{}, expires_at_{};
  // Of the IKE SA that was authenticated; those that rekeys make of it have the same.
  struct Origin {
    Role role;
    std::uint64_t spi_initiator;
    Time created, established;
    std::optional<std::size_t> ppk;  // of the tunnel's
  };
  Origin origin_;
  Time reauth_at_{}, reauth_end_{}, redundant_at_{};
  Time retire_by_{};  // however much of what it carries nobody else does
  Time last_heard_{};
  std::optional<Time> temporary_since_;  // the peer has answered nothing but TEMPORARY_FAILURE
  Time temporary_last_{};
};

}  // namespace espgate::ike
