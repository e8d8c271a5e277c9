//! The 64 probe texts. Why these: an encoder that changes (other weights, a lost prefix, another tokenizer,
//! another cut length) shows it on some kind of text first, so each kind has its share: languages and
//! scripts, long texts, unusual Unicode, code and tables, texts of hardly a token.
//!
//! Invariant: these texts never change: stored reference vectors and sketches were made of them, and a
//! changed text would read as drift. The first [`QUERIES`] get the query prefix, the rest the passage prefix.

/// How many texts, from the first on, are embedded as queries.
pub const QUERIES: usize = 32;

/// The texts.
pub const TEXTS: [&str; 64] = [
    // Questions as people type them.
    "how do I reset the password of a shared mailbox",
    "What is the notice period during probation?",
    "flights delayed more than three hours compensation",
    "error 0x80070005 access denied when installing the update",
    "cheapest way to send 40 kg of books overseas",
    "Which lichen grows on basalt above the tree line?",
    "can I claim the home office as an expense if I rent",
    "boundary layer transition on a flat plate at Mach 5",
    // The same need in other languages and scripts.
    "Wie lange muss ich Rechnungen aufbewahren?",
    "¿Cuánto tarda en llegar un paquete certificado?",
    "Comment résilier un abonnement avant la fin du contrat ?",
    "Quali documenti servono per immatricolare una moto d'epoca?",
    "Как перенести данные со старого телефона на новый?",
    "如何申请延长签证的有效期",
    "確定申告の締め切りはいつですか",
    "전기 요금을 나누어 낼 수 있나요?",
    "كم يوما تستغرق معالجة طلب القرض؟",
    "बिजली का बिल ऑनलाइन कैसे भरें",
    "วิธีขอเงินคืนเมื่อสินค้าชำรุด",
    "Ασφαλιστική κάλυψη για ενοικιαζόμενο αυτοκίνητο",
    // Code, identifiers, paths.
    "kubectl rollout undo deployment/web --to-revision=3",
    "SELECT count(*) FROM orders WHERE shipped_at IS NULL GROUP BY region",
    "TypeError: cannot read properties of undefined (reading 'length')",
    "std::sync::Mutex<HashMap<String, Vec<u8>>> deadlock",
    "C:\\Program Files\\Example\\bin\\start.cmd --verbose",
    "^(?:[a-z0-9]+(?:-[a-z0-9]+)*)$",
    // Hardly a token.
    "a",
    "?",
    "42",
    "the",
    "\u{e9}",
    "\u{1f600}",
    // From here on: passages. Plain prose.
    "The handbook applies to every employee from the first day. Holidays are agreed with the team at least two weeks \
     ahead; the office closes between Christmas and New Year.",
    "Rinse the rice until the water stays clear, add one and a quarter cups of water for each cup, bring to the boil, \
     cover, and leave it on the lowest heat for twelve minutes without lifting the lid.",
    "A heat pump moves warmth instead of making it: for each kilowatt hour of electricity it delivers three to four \
     kilowatt hours of heat, less when the air outside is cold and the water in the radiators is hot.",
    "Patients who take anticoagulants should tell the surgeon at least seven days before a planned operation. Do not \
     stop the medicine without advice.",
    "The tenant pays for small repairs up to the amount named in the contract; the landlord pays for everything else, \
     and for the boiler in any case.",
    "Glaciers in the western range lost a fifth of their volume within two decades, which moved the peak of the river's \
     flow from July to the middle of June.",
    // Other languages, as passages.
    "Die Probezeit beträgt sechs Monate. Während dieser Zeit kann das Arbeitsverhältnis von beiden Seiten mit einer \
     Frist von zwei Wochen gekündigt werden.",
    "Le train de nuit part à 21 h 40 et arrive le lendemain à 7 h 12 ; les couchettes se réservent au plus tard la \
     veille du départ.",
    "La biblioteca presta hasta diez libros durante cuatro semanas. El préstamo se renueva dos veces si nadie ha \
     reservado el ejemplar.",
    "Вода закипает при более низкой температуре высоко в горах, поэтому крупу приходится варить дольше, чем на \
     уровне моря.",
    "本协议自双方签字之日起生效，有效期三年。任何一方提前终止协议，应当提前六十天书面通知对方。",
    "この装置を分解しないでください。内部には高い電圧がかかっている部分があり、感電するおそれがあります。",
    "تفتح العيادة أبوابها من الثامنة صباحا حتى الرابعة عصرا، ما عدا يوم الجمعة، ويمكن حجز الموعد بالهاتف.",
    "Warranty (Garantie) 保証 गारंटी: twenty-four months, vierundzwanzig Monate, 二十四か月, चौबीस महीने.",
    // Unusual Unicode: combining marks, full width, ligatures, right-to-left marks, joiners.
    "Cafe\u{301} na\u{308}ive co\u{302}te\u{301}: marks that combine, beside café naïve côté that are whole.",
    "\u{ff26}\u{ff35}\u{ff2c}\u{ff2c} \u{ff37}\u{ff29}\u{ff24}\u{ff34}\u{ff28} \u{ff11}\u{ff12}\u{ff13}, a \u{fb01}ne \
     o\u{fb03}ce, x\u{b2} + y\u{b2} = z\u{b2}, \u{2116} 5, 20\u{a0}%",
    "mixed \u{202b}\u{5e9}\u{5dc}\u{5d5}\u{5dd}\u{202c} direction, zero\u{200b}width, soft\u{ad}hyphen, \
     family \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}, flag \u{1f1eb}\u{1f1ee}",
    "\u{1d54f}\u{1d550}\u{1d551} \u{16a0}\u{16a2}\u{16a6} \u{13000}\u{13001} \u{20b9}1,00,000 \u{2603} \u{2192} \u{221e} \u{2260} \u{221a}2",
    // Code, data and markup, as passages.
    "fn median(values: &mut [f64]) -> Option<f64> {\n    values.sort_by(f64::total_cmp);\n    values.get(values.len() / \
     2).copied()\n}\n",
    "{\"id\": 7, \"tags\": [\"red\", \"round\"], \"price\": {\"amount\": 12.5, \"currency\": \"EUR\"}, \"inStock\": true}",
    "| month | kWh | cost |\n| --- | ---: | ---: |\n| January | 412 | 131.84 |\n| February | 377 | 120.64 |\n| March | 290 \
     | 92.80 |",
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  retries: \"3\"\n  timeout: 30s\n",
    "<h2>Opening hours</h2><ul><li>Mon&ndash;Fri 9&ndash;17</li><li>Sat 10&ndash;14</li></ul>",
    "2031-04-09T06:15:27Z WARN pool=readers waited=1532ms size=16 idle=0 msg=\"no connection became free in time\"",
    // Long: beyond what a small encoder reads in one piece, so that a changed cut shows.
    LONG_PROSE,
    LONG_LIST,
    LONG_MIXED,
    LONG_WORD,
    // Hardly a token, as passages.
    ".",
    "0",
    "No.",
    "\u{3042}",
];

/// About 450 English words.
const LONG_PROSE: &str = "The harbour was built twice. The first one lay a little further north, behind a spit of sand \
that moved every winter, and the people who used it kept a boat ready to tow the others over the bar. After the \
third wreck in one season the council asked an engineer for a plan, and he answered with two: a cheap one, which \
would hold for twenty years, and a dear one, which would hold for a hundred. They chose the cheap one and spent the \
difference on a school. Twenty-two years later the wall broke at night, in a storm that was neither the longest nor \
the strongest of that year, and the water stood in the school to the height of the window sills. Nobody was hurt. \
The second harbour has a wall of granite blocks, each as heavy as four oxen, set on a bed of rubble that was left to \
settle for two winters before anything was put on it. The blocks lean a little to the sea. On the inner side a \
stair runs down to the low-water mark, and on the outer side there is a row of iron rings that no ship has ever been \
moored to; they were used to lower the blocks. The light at the end of the wall was lit with oil for thirty years, \
then with gas, then with a lamp that a man could carry in one hand. It shows white to the channel, red to the rocks \
in the north and green to the shoal in the south, and the keeper's book notes every hour in which it did not burn. \
The book has nine such entries. The longest says: from two until dawn, the glass being broken by a goose. Trade \
came and went. First it was salted fish and barrel staves, then slate, then for a few summers ice, which was cut on \
the lake behind the town and packed in sawdust, and of which a third arrived. When the railway reached the coast \
the slate went by train and the harbour was left to the fishermen, and to the painters who came for the light and \
complained about the smell. The town tried to sell the crane and found no buyer. It stands there still, and \
children are told that it will fall on those who climb it, which it has not done so far. The last thing to be \
built was the fish hall, with a roof of laminated beams and a floor that slopes by one hand to the drain. It is \
rinsed each morning at six. At half past six the doors open, and what was swimming the day before is sold by the \
box to those who know what to look for: clear eyes, red gills, and flesh that rises again when a thumb is taken away.";

/// Many short items.
const LONG_LIST: &str = "Parts: 1 frame, left; 2 frame, right; 3 cross bar; 4 shelf 60 x 30; 5 shelf 90 x 30; 6 bolt M6 x \
20; 7 bolt M6 x 35; 8 washer 6.4; 9 cap nut M6; 10 dowel 8 x 30; 11 hinge, 110 degrees; 12 hinge plate; 13 door, left; \
14 door, right; 15 knob, brass; 16 screw 4 x 16; 17 screw 3.5 x 30; 18 wall bracket; 19 wall plug 8; 20 screw 5 x 50; 21 \
foot, adjustable; 22 felt pad; 23 glass shelf 6 mm; 24 shelf pin, nickel; 25 cable outlet 60; 26 back panel, upper; 27 \
back panel, lower; 28 connecting rail; 29 drawer front; 30 drawer side, left; 31 drawer side, right; 32 drawer back; 33 \
drawer bottom; 34 runner, left; 35 runner, right; 36 damper; 37 cover cap, white; 38 cover cap, oak; 39 light strip 12 V; \
40 driver 12 V 30 W; 41 switch, touch; 42 cable 2 m; 43 cable clip; 44 template for drilling; 45 hexagon key 4; 46 \
hexagon key 5; 47 glue, 50 ml; 48 cloth; 49 instructions; 50 card for the guarantee. Tools that are not supplied: drill \
with bits of 5, 8 and 10 mm, spirit level, tape measure, screwdriver PZ2, rubber mallet, pencil, step ladder. Two people \
need about three hours. Order: 1-3 with 6, 8, 9; then 10 with 26, 27; then 28; then 4, 5, 23 on 24; then 11-15; then \
29-36; last 39-43. Do not tighten before everything stands upright.";

/// Several languages and scripts in one long text.
const LONG_MIXED: &str = "Safety notice, read before use. Keep away from children. Do not open the housing. Sicherheitshinweis: \
Vor Gebrauch lesen. Von Kindern fernhalten. Gehäuse nicht öffnen. Consigne de sécurité : à lire avant utilisation. Tenir \
hors de portée des enfants. Ne pas ouvrir le boîtier. Aviso de seguridad: léase antes de usar. Manténgase fuera del \
alcance de los niños. No abra la carcasa. Avviso di sicurezza: leggere prima dell'uso. Tenere lontano dai bambini. Non \
aprire l'involucro. Veiligheidsinstructie: lees dit voor gebruik. Buiten bereik van kinderen houden. Behuizing niet openen. \
Uwaga: przeczytać przed użyciem. Chronić przed dziećmi. Nie otwierać obudowy. Biztonsági figyelmeztetés: használat előtt \
olvassa el. Gyermekektől távol tartandó. Ne nyissa ki a házat. Güvenlik uyarısı: kullanmadan önce okuyun. Çocuklardan uzak \
tutun. Gövdeyi açmayın. Правила безопасности: прочитайте перед использованием. Берегите от детей. Не открывайте корпус. \
Οδηγίες ασφαλείας: διαβάστε πριν από τη χρήση. Κρατήστε μακριά από παιδιά. Μην ανοίγετε το περίβλημα. 安全须知：使用前请阅读。\
请勿让儿童接触。请勿打开外壳。安全上のご注意：ご使用の前にお読みください。お子様の手の届かない場所に保管してください。本体を開けないで\
ください。안전 주의 사항: 사용하기 전에 읽어 주십시오. 어린이의 손이 닿지 않는 곳에 두십시오. 덮개를 열지 마십시오. تعليمات السلامة: اقرأ \
قبل الاستعمال. يحفظ بعيدا عن متناول الأطفال. لا تفتح الغطاء. सुरक्षा सूचना: उपयोग से पहले पढ़ें। बच्चों से दूर रखें। ढक्कन न खोलें। Cảnh báo an \
toàn: đọc trước khi dùng. Để xa tầm tay trẻ em. Không mở vỏ máy.";

/// One long run without a space, such as an encoded attachment leaves in a text.
const LONG_WORD: &str = "bG9uZ3J1bndpdGhvdXRhbnlzcGFjZQ0KYW5kYWdhaW5hbmRhZ2FpbmFuZGFnYWlu7f3a90c1be5528d406ff91bb2c3e7a4470d19e8c65\
53aa0f8812d4ce90b7716ea3f5d2c489b06e17fa53dc8210b94e6f7ac350d1829ebb47065cf3a91d8e240b7c6f95a31de8047bc2961f5ad3e8c07b4962\
f1a5de38c47b0962fa1d5e83c7b40692af1de5387cb406f29a1de53c87b04f6929aed1538c7b4f06a92ed153cb874f0a692ed15cb3874fa0692e1d5cb3\
8f74a06921ed5cb3f874a0692e1d5cbf3874a069e21d5cfb3874a06e921d5fcb3874a0e6921df5cb3874ae06921fd5cb387a4e06921f5dcb38a74e0692\
1f5cdb3a874e06921f5cbda3874e06921f5cbad3874e0692zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz0000000000\
____----____----____----====++++====++++AAAAaaaaBBBBbbbbCCCCccccDDDDddddEEEEeeeeFFFFffff0123456789012345678901234567890123";
