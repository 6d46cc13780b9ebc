<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="fi_FI" sourcelanguage="en_GB">
<context>
    <name>@default</name>
    <message>
        <source>H shows the keys</source>
        <translation>H näyttää näppäimet</translation>
    </message>
    <message>
        <source>Come closer</source>
        <translation>Tule lähemmäs</translation>
    </message>
    <message>
        <source>No picture from the camera</source>
        <translation>Kamera ei anna kuvaa</translation>
    </message>
    <message numerus="yes">
        <source>for %n second(s)</source>
        <translation>
            <numerusform>%n sekunti</numerusform>
            <numerusform>%n sekuntia</numerusform>
        </translation>
    </message>
    <message>
        <source>trying again now</source>
        <translation>yritetään nyt uudelleen</translation>
    </message>
    <message numerus="yes">
        <source>trying again in %n second(s)</source>
        <translation>
            <numerusform>uusi yritys %n sekunnin kuluttua</numerusform>
            <numerusform>uusi yritys %n sekunnin kuluttua</numerusform>
        </translation>
    </message>
    <message>
        <source>this card</source>
        <translation>tämä kortti</translation>
    </message>
    <message>
        <source>full screen</source>
        <translation>koko näyttö</translation>
    </message>
    <message>
        <source>operator&apos;s panel</source>
        <translation>ylläpitäjän paneeli</translation>
    </message>
    <message>
        <source>mirror the picture</source>
        <translation>peilaa kuva</translation>
    </message>
    <message>
        <source>fill the screen</source>
        <translation>täytä näyttö</translation>
    </message>
    <message>
        <source>high contrast</source>
        <translation>suuri kontrasti</translation>
    </message>
    <message>
        <source>next language</source>
        <translation>seuraava kieli</translation>
    </message>
    <message>
        <source>budget, with the panel open</source>
        <translation>aikabudjetti, kun paneeli on auki</translation>
    </message>
    <message>
        <source>exit, with the panel open</source>
        <translation>ulostulo, kun paneeli on auki</translation>
    </message>
    <message>
        <source>one of several cameras</source>
        <translation>yksi kameroista</translation>
    </message>
    <message>
        <source>budget and exit as at the start</source>
        <translation>aikabudjetti ja ulostulo kuten alussa</translation>
    </message>
    <message>
        <source>end</source>
        <translation>lopeta</translation>
    </message>
    <message>
        <source>nobody to read</source>
        <translation>ei ketään arvioitavana</translation>
    </message>
    <message numerus="yes">
        <source>%n face(s)</source>
        <translation>
            <numerusform>%n henkilö</numerusform>
            <numerusform>%n henkilöä</numerusform>
        </translation>
    </message>
    <message>
        <source>{ms} ms left</source>
        <translation>{ms} ms jäljellä</translation>
    </message>
    <message>
        <source>exit {number} at {size} px</source>
        <translation>ulostulo {number}, {size} px</translation>
    </message>
    <message>
        <source>{read} of {faces} read</source>
        <translation>{read}/{faces} arvioitu</translation>
    </message>
    <message>
        <source>idle</source>
        <translation>lepää</translation>
    </message>
    <message>
        <source>{ms} ms, {predicted} predicted</source>
        <translation>{ms} ms, ennuste {predicted}</translation>
    </message>
    <message>
        <source>faces</source>
        <translation>henkilöt</translation>
    </message>
    <message>
        <source>frame age</source>
        <translation>kuvan ikä</translation>
    </message>
    <message>
        <source>network</source>
        <translation>verkko</translation>
    </message>
    <message>
        <source>misses</source>
        <translation>myöhästyneet</translation>
    </message>
    <message>
        <source>dropped frames</source>
        <translation>pudotetut kuvat</translation>
    </message>
    <message>
        <source>provider</source>
        <translation>laskentayksikkö</translation>
    </message>
    <message>
        <source>auto</source>
        <translation>automaattinen</translation>
    </message>
    <message>
        <source>budget</source>
        <translation>aikabudjetti</translation>
    </message>
    <message>
        <source>exit</source>
        <translation>ulostulo</translation>
    </message>
    <message>
        <source>fps</source>
        <translation>kuvaa/s</translation>
    </message>
    <message>
        <source>angry</source>
        <translation>vihainen</translation>
    </message>
    <message>
        <source>disgusted</source>
        <translation>inhoava</translation>
    </message>
    <message>
        <source>afraid</source>
        <translation>peloissaan</translation>
    </message>
    <message>
        <source>happy</source>
        <translation>iloinen</translation>
    </message>
    <message>
        <source>neutral</source>
        <translation>neutraali</translation>
    </message>
    <message>
        <source>sad</source>
        <translation>surullinen</translation>
    </message>
    <message>
        <source>surprised</source>
        <translation>yllättynyt</translation>
    </message>
    <message>
        <source>starting</source>
        <translation>käynnistyy</translation>
    </message>
    <message>
        <source>, for {read}</source>
        <translation>, heistä {read}</translation>
    </message>
    <message>
        <source>deadline {ms} ms</source>
        <translation>määräaika {ms} ms</translation>
    </message>
    <message>
        <source>no time left</source>
        <translation>aika loppui</translation>
    </message>
    <message>
        <source>person in view</source>
        <translation>henkilö näkyvissä</translation>
    </message>
    <message>
        <source>people in view</source>
        <translation>henkilöä näkyvissä</translation>
    </message>
    <message>
        <source>turned away</source>
        <translation>kääntynyt</translation>
    </message>
    <message>
        <source>at the edge</source>
        <translation>reunalla</translation>
    </message>
    <message>
        <source>too small</source>
        <translation>liian pieni</translation>
    </message>
    <message>
        <source>getting ready</source>
        <translation>valmistellaan</translation>
    </message>
    <message>
        <source>A computer is guessing here. It is often wrong.</source>
        <translation>Tietokone arvailee tässä ja erehtyy usein.</translation>
    </message>
    <message>
        <source>A computer is guessing here. It is often wrong, and keeps nothing about you.</source>
        <translation>Tietokone arvailee tässä ja erehtyy usein. Se ei tallenna sinusta mitään.</translation>
    </message>
    <message>
        <source>looks about {age}</source>
        <translation>näyttää noin {age}-vuotiaalta</translation>
    </message>
    <message>
        <source>perhaps a woman</source>
        <translation>ehkä nainen</translation>
    </message>
    <message>
        <source>perhaps a man</source>
        <translation>ehkä mies</translation>
    </message>
    <message>
        <source>Back soon</source>
        <translation>Palaamme pian</translation>
    </message>
    <message>
        <source>The camera is unplugged</source>
        <translation>Kamera on irrotettu</translation>
    </message>
    <message>
        <source>exit {number}</source>
        <translation>ulostulo {number}</translation>
    </message>
    <message>
        <source>See what a computer guesses from your face</source>
        <translation>Katso, mitä tietokone arvaa kasvoistasi</translation>
    </message>
    <message>
        <source>camera</source>
        <translation>kamera</translation>
    </message>
    <message>
        <source>exposure</source>
        <translation>valotus</translation>
    </message>
    <message>
        <source>keys</source>
        <translation>näppäimet</translation>
    </message>
    <message>
        <source>back</source>
        <translation>takaisin</translation>
    </message>
    <message>
        <source>For the operator</source>
        <translation>Ylläpitäjälle</translation>
    </message>
    <message>
        <source>wait a moment</source>
        <translation>odota hetki</translation>
    </message>
    <message>
        <source>not this one</source>
        <translation>ei tämä</translation>
    </message>
    <message>
        <source>PIN</source>
        <translation>PIN</translation>
    </message>
    <message>
        <source>A computer is guessing here. It is often wrong. Pictures of faces are sent to a server to be read.</source>
        <translation>Tietokone arvailee tässä ja erehtyy usein. Kasvokuvat lähetetään palvelimelle luettaviksi.</translation>
    </message>
    <message>
        <source>server</source>
        <translation>palvelin</translation>
    </message>
    <message>
        <source>answers</source>
        <translation>vastaa</translation>
    </message>
    <message>
        <source>does not answer</source>
        <translation>ei vastaa</translation>
    </message>
</context>
</TS>
